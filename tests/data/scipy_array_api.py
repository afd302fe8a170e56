"""Run by test_array_api.py with SCIPY_ARRAY_API=1, which SciPy reads when it is imported.

Prints, for each function of SciPy: whether its value on a Tensor is that on a NumPy array, and
the greatest distance of its gradient from central differences.
"""

import json

import numpy as np
import scipy.cluster.vq
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats

import gpugrad as gg

FUNCTIONS = {
    "special.logsumexp": lambda x: scipy.special.logsumexp(x, axis=1),
    "special.softmax": lambda x: scipy.special.softmax(x, axis=1),
    "special.log_softmax": lambda x: scipy.special.log_softmax(x, axis=1),
    "special.xlogy": lambda x: scipy.special.xlogy(x, x),
    "special.rel_entr": lambda x: scipy.special.rel_entr(x, x * x),
    "special.erf": scipy.special.erf,
    "special.gammaln": scipy.special.gammaln,
    "special.log_ndtr": scipy.special.log_ndtr,
    "special.ndtri": scipy.special.ndtri,
    "special.betainc": lambda x: scipy.special.betainc(1.5, 2.0, x),
    "special.chdtr": lambda x: scipy.special.chdtr(3.0, x),
    "stats.zscore": scipy.stats.zscore,
    "stats.gmean": scipy.stats.gmean,
    "stats.hmean": scipy.stats.hmean,
    "stats.pmean": lambda x: scipy.stats.pmean(x, 3),
    "stats.moment": lambda x: scipy.stats.moment(x, 3),
    "stats.skew": scipy.stats.skew,
    "stats.kurtosis": scipy.stats.kurtosis,
    "stats.sem": scipy.stats.sem,
    "stats.kstat": lambda x: scipy.stats.kstat(x, 2, axis=0),
    "cluster.vq.whiten": scipy.cluster.vq.whiten,
    "integrate.trapezoid": lambda x: scipy.integrate.trapezoid(x * x, axis=0),
    "optimize.rosen": scipy.optimize.rosen,
}
# These go to compiled code by way of NumPy: values, and no gradient.
REFUSED = {
    "special.gdtr": lambda x: scipy.special.gdtr(1.0, 2.0, x),
    "special.j0": scipy.special.j0,
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
        float(np.max(np.abs(tensor.grad.numpy() - slopes))),
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
