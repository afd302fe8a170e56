// The stand-in for cuFFT on one GPU: plans, work areas, execution.
#include <bit>
#include <map>
#include <mutex>

#include "cufft/plan.h"

using namespace fakecuda;
using namespace fakecuda::fft;

namespace {

enum Result {
    success = 0,
    invalid_plan = 1,
    invalid_type = 3,
    invalid_value = 4,
    exec_failed = 6,
    invalid_size = 8,
    no_workspace = 13,
    not_supported = 16,
};

enum Type { c2c = 0x29, r2c = 0x2a, c2r = 0x2c, z2z = 0x69, d2z = 0x6a, z2d = 0x6c };
enum DataType { r_32f = 0, r_64f = 1, r_16f = 2, c_32f = 4, c_64f = 5, c_16f = 6 };

Result refuse(Result result, const std::string &text) {
    fakecuda_complain(text.c_str());
    return result;
}

// What a handle, a number, stands for.
struct Handle {
    std::shared_ptr<const Plan> plan;
    void *stream = nullptr;
    void *work_area = nullptr;
    bool own_work_area = true;
};

std::mutex mutex;
std::map<int, Handle> handles;
int last_handle = 0;

// Calls `function` with the handle of that number, under the lock.
template <typename Function>
Result with_handle(const char *name, int number, Function function) {
    std::lock_guard lock(mutex);
    auto found = handles.find(number);
    if (found == handles.end()) {
        return refuse(invalid_plan, std::string(name) + ": not a plan");
    }
    return function(found->second);
}

// Sizes, then the layouts: those that were given, or arrays without gaps.
template <typename Int>
Result make_plan(const char *name, int number, Plan plan, int rank, const Int *lengths,
                 const Int *in_embed, long long in_stride, long long in_distance,
                 const Int *out_embed, long long out_stride, long long out_distance,
                 long long batch, size_t *work_bytes) {
    if (rank < 1 || rank > 3) {
        return refuse(invalid_value, std::string(name) + ": not of 1, 2 or 3 dimensions");
    }
    plan.lengths.assign(lengths, lengths + rank);
    for (long long length : plan.lengths) {
        if (length < 1) {
            return refuse(invalid_size, std::string(name) + ": a length below 1");
        }
        if (plan.precision == Precision::half && !std::has_single_bit(size_t(length))) {
            return refuse(invalid_size, std::string(name) + ": halves, and not a power of two");
        }
    }
    if (batch < 1) {
        return refuse(invalid_size, std::string(name) + ": a batch below 1");
    }
    plan.batch = batch;
    auto half = plan.complex_lengths();
    plan.input = Layout::packed(plan.kind == Kind::real_to_complex ? plan.lengths : half);
    plan.output = Layout::packed(plan.kind == Kind::complex_to_real ? plan.lengths : half);
    if (in_embed && out_embed) {
        plan.packed = false;
        plan.input = {{in_embed, in_embed + rank}, in_stride, in_distance};
        plan.output = {{out_embed, out_embed + rank}, out_stride, out_distance};
        if (in_stride < 1 || out_stride < 1) {
            return refuse(invalid_value, std::string(name) + ": a stride below 1");
        }
    }
    plan.prepare();
    return with_handle(name, number, [&](Handle &handle) {
        if (handle.plan) {
            return refuse(invalid_plan, std::string(name) + ": the plan was made before");
        }
        if (work_bytes) {
            *work_bytes = plan.work_bytes();
        }
        handle.plan = std::make_shared<Plan>(std::move(plan));
        return success;
    });
}

// The kind and the precision of a cufftType.
bool read_type(int type, Plan &plan) {
    plan.precision = type & 0x40 ? Precision::double_ : Precision::single;
    switch (type) {
        case c2c:
        case z2z: plan.kind = Kind::complex_to_complex; return true;
        case r2c:
        case d2z: plan.kind = Kind::real_to_complex; return true;
        case c2r:
        case z2d: plan.kind = Kind::complex_to_real; return true;
        default: return false;
    }
}

// The same of the types of the two arrays and of the computation.
bool read_types(int in, int out, int execution, Plan &plan) {
    int precision = in & 3;
    if ((out & 3) != precision || (execution & 3) != precision || in > c_16f || out > c_16f ||
        precision == 3 || execution < 4) {
        return false;
    }
    plan.precision = precision == r_16f   ? Precision::half
                     : precision == r_64f ? Precision::double_
                                          : Precision::single;
    bool from_complex = in >= 4, to_complex = out >= 4;
    plan.kind = from_complex && to_complex ? Kind::complex_to_complex
                : to_complex               ? Kind::real_to_complex
                                           : Kind::complex_to_real;
    return from_complex || to_complex;
}

Result execute(const char *name, int number, void *in, void *out, int sign) {
    Handle handle;
    Result result = with_handle(name, number, [&](Handle &found) {
        handle = found;
        return success;
    });
    if (result != success) {
        return result;
    }
    if (!handle.plan) {
        return refuse(invalid_plan, std::string(name) + ": the plan was not made");
    }
    if (handle.plan->kind == Kind::complex_to_complex && sign != -1 && sign != 1) {
        return refuse(invalid_value, std::string(name) + ": not a direction");
    }
    if (!handle.own_work_area && !handle.work_area) {
        return refuse(no_workspace, std::string(name) + ": no work area was set");
    }
    int failed = enqueue(name, handle.stream, [=] {
        if (!handle.own_work_area) {
            check_memory(handle.work_area, handle.plan->work_bytes(), true,
                         std::string(name) + ", the work area");
        }
        handle.plan->run(name, in, out, sign);
    });
    return failed ? exec_failed : success;
}

// For functions that say the type in their names.
Result execute_as(const char *name, int number, int type, void *in, void *out, int sign) {
    Plan wanted;
    read_type(type, wanted);
    bool fits = true;
    Result result = with_handle(name, number, [&](Handle &handle) {
        fits = !handle.plan || (handle.plan->kind == wanted.kind &&
                                handle.plan->precision == wanted.precision);
        return success;
    });
    if (result == success && !fits) {
        return refuse(invalid_type, std::string(name) + ": the plan is for other types");
    }
    return execute(name, number, in, out, sign);
}

}  // namespace

FAKECUDA_EXPORT Result cufftGetVersion(int *version) {
    *version = 11400;
    return success;
}

FAKECUDA_EXPORT Result cufftCreate(int *number) {
    std::lock_guard lock(mutex);
    *number = ++last_handle;
    handles[*number];
    return success;
}

FAKECUDA_EXPORT Result cufftDestroy(int number) {
    std::lock_guard lock(mutex);
    return handles.erase(number) ? success : refuse(invalid_plan, "cufftDestroy: not a plan");
}

FAKECUDA_EXPORT Result cufftSetStream(int number, void *stream) {
    return with_handle("cufftSetStream", number, [&](Handle &handle) {
        handle.stream = stream;
        return success;
    });
}

FAKECUDA_EXPORT Result cufftSetAutoAllocation(int number, int automatic) {
    return with_handle("cufftSetAutoAllocation", number, [&](Handle &handle) {
        handle.own_work_area = automatic != 0;
        return success;
    });
}

FAKECUDA_EXPORT Result cufftSetWorkArea(int number, void *area) {
    return with_handle("cufftSetWorkArea", number, [&](Handle &handle) {
        handle.work_area = area;
        return success;
    });
}

FAKECUDA_EXPORT Result cufftMakePlanMany(int number, int rank, int *lengths, int *in_embed,
                                         int in_stride, int in_distance, int *out_embed,
                                         int out_stride, int out_distance, int type, int batch,
                                         size_t *work_bytes) {
    Plan plan;
    if (!read_type(type, plan)) {
        return refuse(invalid_type, "cufftMakePlanMany: not a type");
    }
    return make_plan("cufftMakePlanMany", number, std::move(plan), rank, lengths, in_embed,
                     in_stride, in_distance, out_embed, out_stride, out_distance, batch,
                     work_bytes);
}

FAKECUDA_EXPORT Result cufftMakePlan1d(int number, int n, int type, int batch,
                                       size_t *work_bytes) {
    return cufftMakePlanMany(number, 1, &n, nullptr, 1, 0, nullptr, 1, 0, type, batch, work_bytes);
}

FAKECUDA_EXPORT Result cufftMakePlan2d(int number, int nx, int ny, int type, size_t *work_bytes) {
    int lengths[] = {nx, ny};
    return cufftMakePlanMany(number, 2, lengths, nullptr, 1, 0, nullptr, 1, 0, type, 1,
                             work_bytes);
}

FAKECUDA_EXPORT Result cufftMakePlan3d(int number, int nx, int ny, int nz, int type,
                                       size_t *work_bytes) {
    int lengths[] = {nx, ny, nz};
    return cufftMakePlanMany(number, 3, lengths, nullptr, 1, 0, nullptr, 1, 0, type, 1,
                             work_bytes);
}

FAKECUDA_EXPORT Result cufftXtMakePlanMany(int number, int rank, long long *lengths,
                                           long long *in_embed, long long in_stride,
                                           long long in_distance, int in_type,
                                           long long *out_embed, long long out_stride,
                                           long long out_distance, int out_type, long long batch,
                                           size_t *work_bytes, int execution_type) {
    Plan plan;
    if (!read_types(in_type, out_type, execution_type, plan)) {
        return refuse(not_supported, "cufftXtMakePlanMany: types that don't fit together");
    }
    return make_plan("cufftXtMakePlanMany", number, std::move(plan), rank, lengths, in_embed,
                     in_stride, in_distance, out_embed, out_stride, out_distance, batch,
                     work_bytes);
}

FAKECUDA_EXPORT Result cufftPlanMany(int *number, int rank, int *lengths, int *in_embed,
                                     int in_stride, int in_distance, int *out_embed,
                                     int out_stride, int out_distance, int type, int batch) {
    cufftCreate(number);
    Result result =
        cufftMakePlanMany(*number, rank, lengths, in_embed, in_stride, in_distance, out_embed,
                          out_stride, out_distance, type, batch, nullptr);
    if (result != success) {
        cufftDestroy(*number);
    }
    return result;
}

FAKECUDA_EXPORT Result cufftPlan1d(int *number, int n, int type, int batch) {
    return cufftPlanMany(number, 1, &n, nullptr, 1, 0, nullptr, 1, 0, type, batch);
}

FAKECUDA_EXPORT Result cufftPlan2d(int *number, int nx, int ny, int type) {
    int lengths[] = {nx, ny};
    return cufftPlanMany(number, 2, lengths, nullptr, 1, 0, nullptr, 1, 0, type, 1);
}

FAKECUDA_EXPORT Result cufftPlan3d(int *number, int nx, int ny, int nz, int type) {
    int lengths[] = {nx, ny, nz};
    return cufftPlanMany(number, 3, lengths, nullptr, 1, 0, nullptr, 1, 0, type, 1);
}

FAKECUDA_EXPORT Result cufftXtExec(int number, void *in, void *out, int direction) {
    return execute("cufftXtExec", number, in, out, direction);
}

FAKECUDA_EXPORT Result cufftExecC2C(int number, void *in, void *out, int direction) {
    return execute_as("cufftExecC2C", number, c2c, in, out, direction);
}

FAKECUDA_EXPORT Result cufftExecZ2Z(int number, void *in, void *out, int direction) {
    return execute_as("cufftExecZ2Z", number, z2z, in, out, direction);
}

FAKECUDA_EXPORT Result cufftExecR2C(int number, void *in, void *out) {
    return execute_as("cufftExecR2C", number, r2c, in, out, -1);
}

FAKECUDA_EXPORT Result cufftExecD2Z(int number, void *in, void *out) {
    return execute_as("cufftExecD2Z", number, d2z, in, out, -1);
}

FAKECUDA_EXPORT Result cufftExecC2R(int number, void *in, void *out) {
    return execute_as("cufftExecC2R", number, c2r, in, out, +1);
}

FAKECUDA_EXPORT Result cufftExecZ2D(int number, void *in, void *out) {
    return execute_as("cufftExecZ2D", number, z2d, in, out, +1);
}
