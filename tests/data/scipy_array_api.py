"""Run by test_array_api.py with SCIPY_ARRAY_API=1, which SciPy reads when it is imported.

Prints, for each function of SciPy: whether its value on a Tensor is that on a NumPy array, and
the greatest distance of its gradient from central differences, by the largest of these.
"""

import json

import numpy as np
import scipy
import scipy.cluster.vq
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats

import gpugrad as gg

special, stats = scipy.special, scipy.stats
FUNCTIONS = {
    "special.logsumexp": lambda x: special.logsumexp(x, axis=1),
    "special.logsumexp, weighted": lambda x: special.logsumexp(x, b=x * x, axis=1),
    "special.softmax": lambda x: special.softmax(x, axis=1),
    "special.log_softmax": lambda x: special.log_softmax(x, axis=1),
    "special.xlogy": lambda x: special.xlogy(x, x),
    "special.rel_entr": lambda x: special.rel_entr(x, x * x),
    "special.erf": special.erf,
    "special.gammaln": special.gammaln,
    "special.log_ndtr": special.log_ndtr,
    "special.ndtri": special.ndtri,
    "stats.zscore": stats.zscore,
    "stats.gmean": stats.gmean,
    "stats.hmean": stats.hmean,
    "stats.pmean": lambda x: stats.pmean(x, 3),
    "stats.moment": lambda x: stats.moment(x, 3),
    "stats.skew": stats.skew,
    "stats.kurtosis": stats.kurtosis,
    "stats.sem": stats.sem,
    "stats.kstat": lambda x: stats.kstat(x, 2, axis=0),
    "cluster.vq.whiten": scipy.cluster.vq.whiten,
    "integrate.trapezoid": lambda x: scipy.integrate.trapezoid(x * x, axis=0),
    "optimize.rosen": scipy.optimize.rosen,
}
if tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 17):
    import scipy.differentiate
    from scipy.spatial.transform import Rotation

    FUNCTIONS |= {
        "special.betainc": lambda x: special.betainc(1.5, 2.0, x),
        "special.chdtr": lambda x: special.chdtr(3.0, x),
        "special.stdtr": lambda x: special.stdtr(3.0, x),
        "special.i0": special.i0,
        "special.j0": special.j0,
        "special.entr": special.entr,
        "stats.entropy": lambda x: stats.entropy(x, x * x, axis=1),
        "stats.variation": stats.variation,
        "stats.zmap": lambda x: stats.zmap(x, x * x),
        "stats.gzscore": stats.gzscore,
        "stats.gstd": stats.gstd,
        "stats.tvar": lambda x: stats.tvar(x, axis=0),
        "stats.circmean": lambda x: stats.circmean(x, axis=0),
        "stats.circstd": lambda x: stats.circstd(x, axis=0),
        "stats.directional_stats": lambda x: stats.directional_stats(x).mean_direction,
        "stats.pearsonr": lambda x: stats.pearsonr(x, x * x + x[::-1], axis=0).statistic,
        "stats.ttest_1samp": lambda x: stats.ttest_1samp(x, 0.3, axis=0).pvalue,
        "stats.ttest_ind": lambda x: stats.ttest_ind(x, x * x, axis=0).statistic,
        "stats.bartlett": lambda x: stats.bartlett(x[:, 0], x[:, 1] * x[:, 2]).statistic,
        "stats.jarque_bera": lambda x: stats.jarque_bera(x, axis=0).statistic,
        "stats.boxcox_llf": lambda x: stats.boxcox_llf(0.7, x, axis=0),
        "stats.differential_entropy": lambda x: stats.differential_entropy(x, axis=0),
        "stats.quantile": lambda x: stats.quantile(x, 0.3, axis=0),
        "stats.iqr": lambda x: stats.iqr(x, axis=0),
        "integrate.cumulative_trapezoid": lambda x: scipy.integrate.cumulative_trapezoid(x),
        "integrate.cumulative_simpson": lambda x: scipy.integrate.cumulative_simpson(x),
        "optimize.rosen_der": scipy.optimize.rosen_der,
        "differentiate.derivative": lambda x: (
            scipy.differentiate.derivative(lambda t: t**3, x[0]).df
        ),
        "spatial.transform.Rotation": lambda x: Rotation.from_quat(x).apply(x[:, :3]),
    }
# These go to compiled code by way of NumPy: values, and no gradient.
REFUSED = {
    "special.gdtr": lambda x: special.gdtr(1.0, 2.0, x),
}

array = np.random.default_rng(5).uniform(0.2, 0.8, (5, 4))
report = {}
for name, function in FUNCTIONS.items():
    tensor = gg.tensor(array, requires_grad=True)
    y = function(tensor)
    expected = np.asarray(function(array))
    weights = np.random.default_rng(6).uniform(0.5, 1.5, expected.shape)
    slopes = np.empty_like(array)
    for place in np.ndindex(array.shape):
        up, down = array.copy(), array.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        slopes[place] = np.sum((function(up) - function(down)) * weights) / 2e-6
    gg.sum(y * gg.tensor(weights)).backward()
    report[name] = [
        isinstance(y, gg.Tensor) and bool(np.allclose(y.detach().numpy(), expected)),
        float(np.max(np.abs(tensor.grad.numpy() - slopes)) / (1 + np.max(np.abs(slopes)))),
    ]
for name, function in REFUSED.items():
    plain = function(gg.tensor(array))
    try:
        function(gg.tensor(array, requires_grad=True))
    except gg.GradientError as error:
        said = str(error)
    else:
        said = "nothing"
    report[name] = [bool(np.allclose(plain.numpy(), function(array))), said]
print(json.dumps(report))
