// SPDX-License-Identifier: MIT

#ifndef HESSPOT_INFLATE_H
#define HESSPOT_INFLATE_H

#include <cstddef>
#include <string>
#include <string_view>

namespace hesspot {

/// The `size` bytes that were packed by DEFLATE (RFC 1951).
/// std::invalid_argument if the stream is damaged or gives another number; its
/// memory grows with what the stream gives, never beyond `size`.
std::string inflated(std::string_view packed, std::size_t size);

/// CRC-32 as in zip and gzip (RFC 1952).
unsigned crc32(std::string_view bytes);

} // namespace hesspot

#endif
