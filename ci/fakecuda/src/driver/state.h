// Contexts and what handles of the API stand for.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <unordered_map>
#include <vector>

#include "api.h"

namespace fakecuda {

constexpr size_t device_memory = size_t{8} << 30;
constexpr int shared_memory_default = 48 * 1024;         // bytes a block may use without asking
constexpr int shared_memory_optin = 163 * 1024;          // compute capability 8.0
constexpr int shared_memory_multiprocessor = 164 * 1024;  // of which each block costs 1 KiB more
constexpr int multiprocessors = 2;  // few: grids that are sized by it are quick to interpret

int device_count();    // FAKECUDA_DEVICES, 2 if not set
int driver_version();  // FAKECUDA_DRIVER_VERSION, 13000 if not set

void check_device(int device);  // Fault 101

}  // namespace fakecuda

struct CUstream_st;

// Streams, events and modules belong to a context. A context is never freed, so that a stale handle
// can be told from a live one.
struct CUctx_st {
    int device = 0;
    bool primary = false;
    bool alive = true;
    unsigned flags = 0;
    std::atomic<int> failure{0};  // CUresult of the first fault, which every later call returns
    std::shared_ptr<CUstream_st> legacy;
    std::vector<std::shared_ptr<CUstream_st>> streams;  // all but `legacy`, with work left or alive
    std::unordered_map<int, size_t> limits;
};

namespace fakecuda {

using Context = CUctx_st;

Context &primary_context(int device);
Context &current_context();           // Fault 201 if none is
Context *current_context_or_null();
void set_current_context(Context *context);
const std::vector<std::unique_ptr<Context>> &all_contexts();
void fail_everywhere(int code);  // breaks all contexts, also those that are still to be made

// The device whose memory an access concerns: that of the work which runs, else the current one.
int device_in_use();

// Says which device's work runs in this thread until it ends.
class DeviceInUse {
public:
    explicit DeviceInUse(int device);
    ~DeviceInUse();
    DeviceInUse(const DeviceInUse &) = delete;
    DeviceInUse &operator=(const DeviceInUse &) = delete;

private:
    int before;
};

bool peer_access(int device, int peer);  // `device` may use the memory of `peer`

// Live objects by their handle.
template <typename Object>
class Handles {
public:
    Object *add(std::shared_ptr<Object> object) {
        Object *handle = object.get();
        live.emplace(handle, std::move(object));
        return handle;
    }
    std::shared_ptr<Object> find(Object *handle) const {
        auto found = live.find(handle);
        return found == live.end() ? nullptr : found->second;
    }
    std::shared_ptr<Object> get(Object *handle, const char *kind) const {
        std::shared_ptr<Object> found = find(handle);
        if (!found) {
            throw Fault(CUDA_ERROR_INVALID_HANDLE,
                        std::string(api_name()) + ": not a live handle of a " + kind);
        }
        return found;
    }
    std::shared_ptr<Object> remove(Object *handle, const char *kind) {
        std::shared_ptr<Object> found = get(handle, kind);
        live.erase(handle);
        return found;
    }
    template <typename Condition>
    bool any(Condition condition) const {
        return std::ranges::any_of(live,
                                   [&](const auto &entry) { return condition(*entry.second); });
    }
    template <typename Condition>
    void remove_if(Condition condition) {
        std::erase_if(live, [&](const auto &entry) { return condition(*entry.second); });
    }

private:
    std::unordered_map<Object *, std::shared_ptr<Object>> live;
};

// An argument that must not be null.
template <typename Pointer>
void check_pointer(Pointer *pointer, const char *name) {
    if (pointer == nullptr) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    std::string(api_name()) + ": " + name + " is a null pointer");
    }
}

// Text with the arguments of printf.
[[gnu::format(printf, 1, 2)]] std::string format(const char *pattern, ...);

}  // namespace fakecuda
