// SPDX-License-Identifier: MIT

#ifndef HESSPOT_GUARDED_H
#define HESSPOT_GUARDED_H

#include "block.h"
#include "hesspot_kernel.h"
#include "model_error.h"

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace hesspot {

/// The status of what `work` does; what it throws becomes a sentence.
template <typename Work> int guarded(const char **error, Work work) {
  thread_local std::string text;
  int status = HESSPOT_SUCCESS;
  try {
    work();
  } catch (const std::bad_alloc &) {
    status = HESSPOT_NO_MEMORY;
    text.assign("memory ran out"); // short enough to need none
  } catch (const NoKernel &cause) {
    status = HESSPOT_NO_KERNEL;
    text = cause.what();
  } catch (const std::invalid_argument &cause) {
    status = HESSPOT_INVALID;
    text = cause.what();
  } catch (const ModelError &cause) {
    status = HESSPOT_INVALID;
    text = cause.what();
  } catch (const std::exception &cause) {
    status = HESSPOT_FAILED;
    text = cause.what();
  }
  if (error)
    *error = status ? text.c_str() : nullptr;
  return status;
}

} // namespace hesspot

#endif
