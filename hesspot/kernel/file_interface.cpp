// SPDX-License-Identifier: MIT

#include "hesspot_kernel.h"

#include "guarded.h"
#include "model_file.h"

#include <algorithm>

using namespace hesspot;

namespace {

const ModelFile &opened(const void *file) {
  return *static_cast<const ModelFile *>(file);
}

void check_abi(int abi) {
  if (abi != HESSPOT_ABI)
    throw std::invalid_argument(
        "the program was compiled for interface " + std::to_string(abi) +
        " of hesspot's kernels, and this library has " +
        std::to_string(HESSPOT_ABI) +
        "; compile it with the hesspot_kernel.h of this library");
}

} // namespace

extern "C" {

int hesspot_file_open(int abi, const char *path, void **file,
                      const char **error) {
  return guarded(error, [&] {
    check_abi(abi);
    *file = new ModelFile(read_file(path), path);
  });
}

int hesspot_file_read(int abi, const char *content, std::int64_t size,
                      const char *name, void **file, const char **error) {
  return guarded(error, [&] {
    check_abi(abi);
    *file = new ModelFile({content, static_cast<std::size_t>(size)}, name);
  });
}

void hesspot_file_close(void *file) { delete static_cast<ModelFile *>(file); }

const char *hesspot_file_record(const void *file, const char *name,
                                std::int64_t *size) {
  const auto *const found = opened(file).archive().find(name);
  *size = found ? static_cast<std::int64_t>(found->size()) : 0;
  return found ? found->data() : nullptr;
}

const char *hesspot_file_no_kernel(const void *file) {
  const std::string &reason = opened(file).no_kernel();
  return reason.empty() ? nullptr : reason.c_str();
}

int hesspot_file_model(const void *file, int single_precision, void **model,
                       const char **error) {
  return guarded(error, [&] {
    *model = opened(file).kernel(single_precision != 0).release();
  });
}

int hesspot_file_verify(const void *file, const void *model, double *deviations,
                        const char **error) {
  return guarded(error, [&] {
    const auto &kernel = *static_cast<const KernelModel *>(model);
    const auto found =
        check_fingerprint(opened(file).fingerprint(), replay_of(kernel),
                          kernel.is_single(), opened(file).name());
    if (deviations)
      std::copy(found.begin(), found.end(), deviations);
  });
}

int hesspot_model_open(int abi, const char *path, int single_precision,
                       int verify, void **model, const char **error) {
  return guarded(error, [&] {
    check_abi(abi);
    const ModelFile file(read_file(path), path);
    auto made = [&] {
      try {
        return file.kernel(single_precision != 0);
      } catch (const NoKernel &reason) {
        throw NoKernel("model file " + file.name() +
                       " cannot be evaluated by the kernel: " + reason.what() +
                       "; its TorchScript can be, by torch");
      }
    }();
    if (verify)
      check_fingerprint(file.fingerprint(), replay_of(*made), made->is_single(),
                        file.name());
    *model = made.release();
  });
}
}
