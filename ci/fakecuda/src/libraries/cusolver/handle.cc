// Contexts of cuSOLVER: handles, streams, parameters, versions.
#include "cusolver/solver.h"

using namespace fakecuda;
using namespace fakecuda::solver;

FAKECUDA_EXPORT Status cusolverDnCreate(Handle **handle) {
    if (!handle) {
        return refuse(invalid_value, "cusolverDnCreate: no place for the handle");
    }
    *handle = new Handle;
    return success;
}

FAKECUDA_EXPORT Status cusolverDnDestroy(Handle *handle) {
    Arguments arguments("cusolverDnDestroy", handle);
    delete handle;
    return arguments.status;
}

FAKECUDA_EXPORT Status cusolverDnSetStream(Handle *handle, void *stream) {
    Arguments arguments("cusolverDnSetStream", handle);
    if (!arguments.wrong()) {
        handle->stream = stream;
    }
    return arguments.status;
}

FAKECUDA_EXPORT Status cusolverDnGetStream(Handle *handle, void **stream) {
    Arguments arguments("cusolverDnGetStream", handle);
    if (!arguments.wrong()) {
        *stream = handle->stream;
    }
    return arguments.status;
}

FAKECUDA_EXPORT Status cusolverGetProperty(int type, int *value) {
    constexpr int version[] = {11, 7, 5};
    if (type < 0 || type > 2) {
        return refuse(invalid_value, "cusolverGetProperty: not a property");
    }
    *value = version[type];
    return success;
}

// Parameters of the 64-bit functions: which algorithm. The stand-in has one of each.
struct Params {};

FAKECUDA_EXPORT Status cusolverDnCreateParams(Params **params) {
    *params = new Params;
    return success;
}

FAKECUDA_EXPORT Status cusolverDnDestroyParams(Params *params) {
    delete params;
    return success;
}

// The same six functions for gesvdj and for syevj.
#define JACOBI(NAME)                                                                              \
    FAKECUDA_EXPORT Status cusolverDnCreate##NAME##Info(JacobiInfo **info) {                      \
        *info = new JacobiInfo;                                                                   \
        return success;                                                                           \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDnDestroy##NAME##Info(JacobiInfo *info) {                      \
        delete info;                                                                              \
        return success;                                                                           \
    }

#define JACOBI_SETTINGS(NAME)                                                                     \
    FAKECUDA_EXPORT Status cusolverDnX##NAME##SetTolerance(JacobiInfo *info, double tolerance) {  \
        info->tolerance = tolerance;                                                              \
        return success;                                                                           \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDnX##NAME##SetMaxSweeps(JacobiInfo *info, int sweeps) {        \
        info->max_sweeps = sweeps;                                                                \
        return success;                                                                           \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDnX##NAME##SetSortEig(JacobiInfo *info, int sort) {            \
        info->sort = sort;                                                                        \
        return success;                                                                           \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDnX##NAME##GetResidual(Handle *, JacobiInfo *info,             \
                                                          double *residual) {                     \
        *residual = info->residual;                                                               \
        return success;                                                                           \
    }                                                                                             \
    FAKECUDA_EXPORT Status cusolverDnX##NAME##GetSweeps(Handle *, JacobiInfo *info,               \
                                                        int *sweeps) {                            \
        *sweeps = info->sweeps;                                                                   \
        return success;                                                                           \
    }

JACOBI(Gesvdj)
JACOBI(Syevj)
JACOBI_SETTINGS(gesvdj)
JACOBI_SETTINGS(syevj)
