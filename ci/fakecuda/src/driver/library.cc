// What the stand-ins for cuBLAS and the other libraries call (standin.h).
#include "capture.h"
#include "counters.h"
#include "errors.h"
#include "streams.h"

namespace fakecuda {

namespace {

using Work = int (*)(void *);
using Release = void (*)(void *);

class LibraryCall : public Operation {
public:
    LibraryCall(const char *name, Work work, void *arguments, Release release)
        : name(name), counter(library_counter(name)), work(work), arguments(arguments),
          release(release), device(device_in_use()) {}
    LibraryCall(const LibraryCall &) = delete;
    LibraryCall &operator=(const LibraryCall &) = delete;
    ~LibraryCall() override {
        if (release != nullptr) {
            release(arguments);
        }
    }

    CUgraphNodeType type() const override { return CU_GRAPH_NODE_TYPE_KERNEL; }
    std::string describe() const override { return name; }
    void count() const override {
        counter++;
        if (logging()) {
            log("library " + name);
        }
    }
    void run() const override {
        DeviceInUse scope(device);
        if (const int code = work(arguments); code != CUDA_SUCCESS) {
            const ErrorName *error = find_error(code);
            throw Fault(code, name + " failed: " + (error != nullptr ? error->text : "?"));
        }
    }
    bool unlocked() const override { return true; }
    bool dropped_when_idle() const override { return true; }
    std::string differs(const Operation &other) const override {
        const auto *call = dynamic_cast<const LibraryCall *>(&other);
        return call != nullptr && call->name == name ? "" : name + " became " + other.describe();
    }

private:
    std::string name;
    Counter &counter;
    Work work;
    void *arguments;
    Release release;
    int device;
};

template <typename Body>
CUresult library_entry(const char *name, Body body) {
    ApiName scope(name);
    if (CUresult result = runtime_enter(true); result != CUDA_SUCCESS) {
        return result;
    }
    return driver_call(name, Needs::context, body);
}

}  // namespace

}  // namespace fakecuda

using namespace fakecuda;

FAKECUDA_EXPORT int fakecuda_library_call(const char *name, void *stream, int (*work)(void *),
                                          void *arguments, void (*release)(void *)) {
    const auto call = std::make_shared<LibraryCall>(name, work, arguments, release);
    return library_entry(
        name, [&] { submit(stream_of_current_context(static_cast<CUstream>(stream)), call); });
}

FAKECUDA_EXPORT int fakecuda_wait(void *stream) {
    return library_entry("library", [&] {
        const StreamPointer found = stream_of_current_context(static_cast<CUstream>(stream));
        check_synchronisation(*found);
        check_unsafe_call();
        count_wait();
        run_all(found);
        check_failure(*found->context);
    });
}

FAKECUDA_EXPORT int fakecuda_capturing(void *stream) {
    bool capturing = false;
    const CUresult result = library_entry("library", [&] {
        capturing = find_stream(static_cast<CUstream>(stream))->capture != nullptr;
    });
    return result == CUDA_SUCCESS && capturing;
}
