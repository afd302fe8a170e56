// What tests count: launches, library calls, copies, waits, allocations.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace fakecuda {

using Counter = std::atomic<uint64_t>;

enum class CopyKind { host_to_device, device_to_host, device_to_device, peer, host_to_host, fill };
const char *copy_name(CopyKind kind);  // "HtoD"

Counter &launch_counter(const std::string &kernel);  // lives for ever: a function keeps its own
Counter &library_counter(const std::string &function);
void count_copy(CopyKind kind, size_t bytes);
void count_wait();  // under the name of the function of the API that waits
void count_allocation(size_t bytes);

// Launches and library calls do nothing: what remains is the host's time.
bool idle();

bool logging();  // FAKECUDA_LOG=1
void log(const std::string &text);

}  // namespace fakecuda
