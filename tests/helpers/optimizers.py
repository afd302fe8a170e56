"""All optimizers and schedules, each as a function that makes one, for the tests of all of them."""

import gpugrad as gg

OPTIMIZERS = {
    "sgd": lambda ps: gg.optim.SGD(ps, lr=0.1, momentum=0.9),
    "adam": lambda ps: gg.optim.Adam(ps, lr=0.1, amsgrad=True, weight_decay=0.01),
    "adamw": lambda ps: gg.optim.AdamW(ps, lr=0.1),
    "adagrad": lambda ps: gg.optim.Adagrad(ps, lr=0.1, initial_accumulator_value=0.25),
    "rmsprop": lambda ps: gg.optim.RMSprop(ps, lr=0.1, centered=True, momentum=0.5),
    "adadelta": lambda ps: gg.optim.Adadelta(ps),
    "adamax": lambda ps: gg.optim.Adamax(ps, lr=0.1, weight_decay=0.01),
    "nadam": lambda ps: gg.optim.NAdam(ps, lr=0.1),
    "radam": lambda ps: gg.optim.RAdam(ps, lr=0.1, betas=(0.5, 0.7)),
    "lion": lambda ps: gg.optim.Lion(ps, lr=0.1, weight_decay=0.01),
    "rprop": lambda ps: gg.optim.Rprop(ps, lr=0.1),
    "asgd": lambda ps: gg.optim.ASGD(ps, lr=0.1, t0=1),
    "lamb": lambda ps: gg.optim.LAMB(ps, lr=0.03),
}
MATRICES = {"muon": lambda ps: gg.optim.Muon(ps, lr=0.03, ns_steps=3)}  # for those alone
CLOSURES = {  # for steps with a closure
    "lbfgs": lambda ps: gg.optim.LBFGS(ps, lr=0.5, max_iter=2, history_size=2),
    "wolfe": lambda ps: gg.optim.LBFGS(ps, max_iter=2, line_search_fn="strong_wolfe"),
}

SCHEDULES = {
    "step": lambda o: gg.optim.StepLR(o, 2, gamma=0.5),
    "multi-step": lambda o: gg.optim.MultiStepLR(o, [1, 4], gamma=0.5),
    "constant": lambda o: gg.optim.ConstantLR(o, 0.5, total_iters=5),
    "linear": lambda o: gg.optim.LinearLR(o, 1.0, 0.2, total_iters=6),
    "exponential": lambda o: gg.optim.ExponentialLR(o, 0.7),
    "polynomial": lambda o: gg.optim.PolynomialLR(o, 12, power=0.5),
    "cosine": lambda o: gg.optim.CosineAnnealingLR(o, 9, eta_min=0.1),
    "lambda": lambda o: gg.optim.LambdaLR(o, lambda t: 1 / (1 + t)),
    "multiplicative": lambda o: gg.optim.MultiplicativeLR(o, lambda t: 0.9),
    "restarts": lambda o: gg.optim.CosineAnnealingWarmRestarts(o, 4, T_mult=2),
    "chained": lambda o: gg.optim.ChainedScheduler(
        [gg.optim.ConstantLR(o, 0.5, total_iters=5), gg.optim.ExponentialLR(o, 0.9)]
    ),
    "sequential": lambda o: gg.optim.SequentialLR(
        o, [gg.optim.StepLR(o, 2), gg.optim.ExponentialLR(o, 0.9)], [20]
    ),
}  # whose rates are multiples of the initial one, or that and a least rate

OTHER_SCHEDULES = {
    "swa": lambda o: gg.optim.SWALR(o, 0.05),
    "cyclic": lambda o: gg.optim.CyclicLR(o, 0.1, 1.0, step_size_up=3),
    "one-cycle": lambda o: gg.optim.OneCycleLR(o, 0.3, total_steps=20),
    "plateau": lambda o: gg.optim.ReduceLROnPlateau(o, patience=0),
}


def step(schedule, figure=1.0):
    """One step of any schedule."""
    if isinstance(schedule, gg.optim.ReduceLROnPlateau):
        schedule.step(figure)
    else:
        schedule.step()
