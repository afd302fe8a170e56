// Functions by name, and those that are not there.
#include <dlfcn.h>

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "modules.h"

namespace fakecuda {

namespace {

// A function that is missing is found out when it is called, by one of these, which knows its name.
constexpr size_t missing_limit = 512;
auto &missing_names = *new std::array<std::string, missing_limit>;

template <size_t index>
CUresult missing() {
    return static_cast<CUresult>(
        fakecuda_not_implemented(missing_names[index].c_str(), CUDA_ERROR_NOT_SUPPORTED));
}

template <size_t... index>
constexpr auto make_missing(std::index_sequence<index...>) {
    return std::array<CUresult (*)(), sizeof...(index)>{missing<index>...};
}

void *missing_function(const std::string &name) {
    static constexpr auto functions = make_missing(std::make_index_sequence<missing_limit>());
    static auto &indices = *new std::map<std::string, size_t>;
    auto found = indices.find(name);
    if (found == indices.end()) {
        const size_t index = indices.size();
        if (index == missing_limit) {
            return nullptr;
        }
        missing_names[index] = name;
        found = indices.emplace(name, index).first;
    }
    return reinterpret_cast<void *>(functions[found->second]);
}

void *own_function(const std::string &name) {
    static void *library = [] {
        Dl_info information{};
        dladdr(reinterpret_cast<void *>(&cuInit), &information);
        return dlopen(information.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    }();
    for (const char *version : {"_v2", "", "_v3"}) {
        if (void *function = dlsym(library, (name + version).c_str())) {
            return function;
        }
    }
    return nullptr;
}

std::string file_name(const void *address) {
    Dl_info information{};
    if (dladdr(address, &information) == 0 || information.dli_fname == nullptr) {
        return "a program";
    }
    const std::string path = information.dli_fname;
    return path.substr(path.rfind('/') + 1);
}

}  // namespace

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuGetProcAddress(const char *name, void **function, int, cuuint64_t,
                          CUdriverProcAddressQueryResult *status) {
    return driver_call("cuGetProcAddress", Needs::nothing, [&] {
        check_pointer(function, "pfn");
        check_pointer(name, "symbol");
        *function = own_function(name);
        if (*function == nullptr) {
            *function = missing_function(name);
        }
        if (status != nullptr) {
            *status = CU_GET_PROC_ADDRESS_SUCCESS;
        }
    });
}

// NVRTC asks for a table and does without it. The static runtime inside programs that hold machine
// code asks for tables that no document describes, and such code can't run here.
CUresult cuGetExportTable(const void **table, const CUuuid *) {
    const std::string caller = file_name(__builtin_return_address(0));
    return driver_call("cuGetExportTable", Needs::nothing, [&] {
        if (table != nullptr) {
            *table = nullptr;
        }
        if (caller.starts_with("libnvrtc")) {
            refuse(CUDA_ERROR_NOT_FOUND);
        }
        refuse_machine_code("machine code for GPUs in " + caller);
    });
}

}  // extern "C"
