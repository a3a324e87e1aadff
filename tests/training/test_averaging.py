"""The moving average is timm's, to the bit."""

import torch
from projects import spec_of
from timm.utils import ModelEmaV3

from viadet.network.build import build_network
from viadet.training.averaging import WeightAverage


def test_the_average_of_moving_weights_is_timms_to_the_bit_also_after_loading_a_state():
    network = build_network(spec_of(128))
    ours, timms = WeightAverage(network, 0.9), ModelEmaV3(network, decay=0.9, use_warmup=True)
    for step in range(1, 6):
        with torch.no_grad():
            for values in network.state_dict().values():
                values.add_(torch.rand(values.shape) if values.is_floating_point() else 1)
        ours.update(step)
        timms.update(network, step=step)
        if step == 3:  # as at a resume
            state = {key: values.clone() for key, values in ours.module.state_dict().items()}
            ours = WeightAverage(network, 0.9)
            ours.module.load_state_dict(state)
    expected = timms.module.state_dict()
    assert all(torch.equal(values, expected[key]) for key, values in ours.module.state_dict().items())
