#include "modules.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "memory.h"
#include "streams.h"

namespace fakecuda {

namespace {

auto &modules = *new Handles<Module>;
auto &owners = *new std::unordered_map<Function *, Module *>;

// The highest PTX version that the driver of a CUDA release takes.
std::pair<int, int> highest_ptx_version() {
    const int major = driver_version() / 1000, minor = driver_version() % 1000 / 10;
    if (major >= 13) {
        return {9, minor};
    }
    constexpr int after_12[] = {0, 1, 2, 3, 4, 5, 5, 6, 7, 8};
    return major == 12 ? std::pair{8, after_12[std::min(minor, 9)]} : std::pair{7, minor};
}

void check_ptx_version(const ptx::Module &code) {
    int major = 0, minor = 0, capability = 0;
    std::sscanf(code.version.c_str(), "%d.%d", &major, &minor);
    const auto highest = highest_ptx_version();
    if (std::pair{major, minor} > highest) {
        throw Fault(CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
                    format("PTX version %d.%d: the driver takes %d.%d at most", major, minor,
                           highest.first, highest.second));
    }
    std::sscanf(code.target.c_str(), "sm_%d", &capability);
    if (capability > 80) {
        throw Fault(CUDA_ERROR_INVALID_PTX,
                    format("PTX for %s: the devices have compute capability 8.0",
                           code.target.c_str()));
    }
}

bool begins_with(const void *image, const char *magic) {
    return std::memcmp(image, magic, 4) == 0;
}

void check_is_text(const void *image) {
    if (begins_with(image, "\x7f"
                           "ELF")) {
        refuse_machine_code("a module of machine code (cubin)");
    }
    constexpr const char *fat_binary = "\x50\xed\x55\xba", *wrapper = "\xb1\x43\x62\x46";
    if (begins_with(image, fat_binary) || begins_with(image, wrapper)) {
        refuse_machine_code("a module of machine code (fatbin)");
    }
}

ModulePointer load(const char *text, Context &context) {
    auto module = std::make_shared<Module>();
    module->context = &context;
    const auto variable = [&](size_t bytes, size_t align, bool constant) -> void * {
        Allocation &allocation =
            allocate(std::max<size_t>(bytes, 1),
                     constant ? MemoryKind::constant : MemoryKind::variable, context.device,
                     std::max<size_t>(align, 512));
        module->variables.push_back(allocation.begin);
        void *memory = reinterpret_cast<void *>(allocation.begin);
        std::memset(memory, 0, allocation.bytes);
        return memory;
    };
    module->code = ptx::parse(text, variable);
    check_ptx_version(*module->code);
    for (const ptx::Entry &entry : module->code->entries) {
        auto function = std::make_unique<Function>();
        function->module = module.get();
        function->entry = &entry;
        function->launches = &launch_counter(entry.name);
        owners.emplace(function.get(), module.get());
        module->functions.push_back(std::move(function));
    }
    return module;
}

// Options of the just-in-time compiler: the logs are filled, the others concern machine code.
struct Logs {
    char *error = nullptr, *information = nullptr;
    size_t error_size = 0, information_size = 0;
    void **error_used = nullptr, **information_used = nullptr;

    Logs(unsigned number, CUjit_option *options, void **values) {
        for (unsigned i = 0; i < number; i++) {
            switch (options[i]) {
                case CU_JIT_ERROR_LOG_BUFFER: error = static_cast<char *>(values[i]); break;
                case CU_JIT_INFO_LOG_BUFFER: information = static_cast<char *>(values[i]); break;
                case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
                    error_size = reinterpret_cast<uintptr_t>(values[i]);
                    error_used = &values[i];
                    break;
                case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
                    information_size = reinterpret_cast<uintptr_t>(values[i]);
                    information_used = &values[i];
                    break;
                default: break;
            }
        }
        write("", information, information_size, information_used);
        write("", error, error_size, error_used);
    }

    void write_error(const std::string &text) { write(text, error, error_size, error_used); }

private:
    static void write(const std::string &text, char *buffer, size_t size, void **used) {
        if (buffer == nullptr || size == 0) {
            return;
        }
        const size_t length = text.copy(buffer, size - 1);
        buffer[length] = '\0';
        if (used != nullptr) {
            *used = reinterpret_cast<void *>(length);
        }
    }
};

CUmodule load_and_log(const void *image, Logs &logs) {
    check_pointer(image, "image");
    check_is_text(image);
    try {
        return modules.add(load(static_cast<const char *>(image), current_context()));
    } catch (const Fault &fault) {
        logs.write_error(fault.what());
        throw;
    }
}

CUresult load_data(const char *name, CUmodule *module, const void *image, unsigned number,
                   CUjit_option *options, void **values) {
    return driver_call(name, Needs::context, [&] {
        check_pointer(module, "module");
        Logs logs(number, options, values);
        *module = load_and_log(image, logs);
    });
}

}  // namespace

ModulePointer module_of(Function *function) {
    auto owner = owners.find(function);
    ModulePointer module = owner == owners.end() ? nullptr : modules.find(owner->second);
    if (!module) {
        throw Fault(CUDA_ERROR_INVALID_HANDLE,
                    std::string(api_name()) + ": not a function of a loaded module");
    }
    return module;
}

void destroy_modules(Context &context) {
    modules.remove_if([&](const Module &module) { return module.context == &context; });
}

void refuse_machine_code(const std::string &what) {
    const Fault fault(CUDA_ERROR_NOT_SUPPORTED,
                      what + " can't run here: the stand-in interprets PTX, and holds no GPU");
    fail_everywhere(fault.code);
    throw fault;
}

}  // namespace fakecuda

using namespace fakecuda;

CUmod_st::~CUmod_st() {
    for (const auto &function : functions) {
        owners.erase(function.get());
    }
    for (uint64_t variable : variables) {
        if (Allocation *allocation = find_allocation(variable)) {
            release(*allocation);
        }
    }
}

struct CUlinkState_st {
    std::string code;
};

namespace {

auto &links = *new Handles<CUlinkState_st>;

// PTX of one program is its own link: machine code is not made here.
void add_to_link(CUlinkState_st &link, CUjitInputType type, const std::string &text,
                 const char *name) {
    const std::string what = name == nullptr ? "a link input" : std::string("link input ") + name;
    if (type != CU_JIT_INPUT_PTX) {
        refuse_machine_code(what);
    }
    if (!link.code.empty()) {
        throw Fault(CUDA_ERROR_NOT_SUPPORTED,
                    std::string(api_name()) + ": linking several PTX programs is not in the "
                                              "stand-in (" + what + ")");
    }
    link.code = text.c_str();
}

}  // namespace

extern "C" {

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    return load_data("cuModuleLoadData", module, image, 0, nullptr, nullptr);
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned number,
                            CUjit_option *options, void **values) {
    return load_data("cuModuleLoadDataEx", module, image, number, options, values);
}

CUresult cuModuleLoadFatBinary(CUmodule *, const void *) {
    return driver_call("cuModuleLoadFatBinary", Needs::context,
                       [] { refuse_machine_code("a module of machine code (fatbin)"); });
}

CUresult cuModuleLoad(CUmodule *module, const char *path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        return CUDA_ERROR_FILE_NOT_FOUND;
    }
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    return load_data("cuModuleLoad", module, text.c_str(), 0, nullptr, nullptr);
}

CUresult cuModuleUnload(CUmodule module) {
    return driver_call("cuModuleUnload", Needs::driver,
                       [&] { modules.remove(module, "module"); });
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule handle, const char *name) {
    return driver_call("cuModuleGetFunction", Needs::context, [&] {
        check_pointer(function, "hfunc");
        check_pointer(name, "name");
        const ModulePointer module = modules.get(handle, "module");
        for (const auto &candidate : module->functions) {
            if (candidate->entry->name == name) {
                *function = candidate.get();
                return;
            }
        }
        refuse(CUDA_ERROR_NOT_FOUND);
    });
}

CUresult cuModuleGetGlobal(CUdeviceptr *address, size_t *bytes, CUmodule handle,
                           const char *name) {
    return driver_call("cuModuleGetGlobal", Needs::context, [&] {
        check_pointer(name, "name");
        const ModulePointer module = modules.get(handle, "module");
        for (const ptx::Global &global : module->code->globals) {
            if (global.name == name) {
                if (address != nullptr) {
                    *address = global.address;
                }
                if (bytes != nullptr) {
                    *bytes = global.size;
                }
                return;
            }
        }
        refuse(CUDA_ERROR_NOT_FOUND);
    });
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
    return driver_call("cuModuleGetLoadingMode", Needs::driver, [&] {
        check_pointer(mode, "mode");
        *mode = CU_MODULE_EAGER_LOADING;
    });
}

CUresult cuLinkCreate(unsigned number, CUjit_option *options, void **values, CUlinkState *state) {
    return driver_call("cuLinkCreate", Needs::context, [&] {
        check_pointer(state, "stateOut");
        Logs logs(number, options, values);
        *state = links.add(std::make_shared<CUlinkState_st>());
    });
}

CUresult cuLinkAddData(CUlinkState state, CUjitInputType type, void *data, size_t bytes,
                       const char *name, unsigned, CUjit_option *, void **) {
    return driver_call("cuLinkAddData", Needs::context, [&] {
        check_pointer(data, "data");
        add_to_link(*links.get(state, "link"), type,
                    std::string(static_cast<const char *>(data), bytes), name);
    });
}

CUresult cuLinkAddFile(CUlinkState state, CUjitInputType type, const char *path, unsigned,
                       CUjit_option *, void **) {
    return driver_call("cuLinkAddFile", Needs::context, [&] {
        check_pointer(path, "path");
        std::ifstream file(path, std::ios::binary);
        if (!file) {
            refuse(CUDA_ERROR_FILE_NOT_FOUND);
        }
        add_to_link(*links.get(state, "link"), type,
                    std::string((std::istreambuf_iterator<char>(file)), {}), path);
    });
}

CUresult cuLinkComplete(CUlinkState state, void **code, size_t *bytes) {
    return driver_call("cuLinkComplete", Needs::context, [&] {
        check_pointer(code, "cubinOut");
        const auto link = links.get(state, "link");
        *code = link->code.data();
        if (bytes != nullptr) {
            *bytes = link->code.size();
        }
    });
}

CUresult cuLinkDestroy(CUlinkState state) {
    return driver_call("cuLinkDestroy", Needs::driver, [&] { links.remove(state, "link"); });
}

}  // extern "C"
