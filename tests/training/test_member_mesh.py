"""Where members live: rows of devices, and the devices that a CPU is made of."""

import jax
import pytest

from tests.processes import python
from vae_jax.training.member_mesh import one_device_per_core, place_members


@pytest.mark.parametrize(
    ("num_members", "batch_size", "num_devices", "shape", "slots"),
    [
        (1, 8, 1, (1, 1), 1),
        (5, 8, 1, (1, 1), 5),
        (5, 8, 4, (4, 1), 8),
        (4, 8, 4, (4, 1), 4),
        (3, 8, 4, (3, 1), 3),  # one device idle rather than a member torn
        (2, 8, 4, (2, 2), 2),
        (1, 8, 4, (1, 4), 1),
        (1, 6, 4, (1, 3), 1),  # a batch divides
        (1, 7, 4, (1, 1), 1),
    ],
)
def test_members_are_dealt_out_to_rows_of_devices(num_members, batch_size, num_devices, shape, slots):
    placement = place_members(num_members, batch_size, jax.devices()[:num_devices])
    assert placement.mesh.devices.shape == shape
    assert placement.slots(num_members) == slots


def test_cores_are_no_data_parallel_devices_unless_asked():
    assert place_members(2, 8).mesh.devices.shape == (2, 1)


CALL = "import jax; from vae_jax.training.member_mesh import one_device_per_core; one_device_per_core(); "


def test_every_core_is_a_device_once_asked():
    show = "import os; print(len(os.sched_getaffinity(0)), jax.device_count())"
    cores, devices = python(CALL + show).split()
    assert cores == devices
    first = "import os, jax; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    assert python(first + CALL + show).split()[1] == "1"
    assert python(CALL + show, XLA_FLAGS="--xla_force_host_platform_device_count=3").split()[1] == "3"
    assert python("import jax; print(jax.device_count())") == "1\n"


def test_it_is_too_late_when_jax_has_started():
    jax.devices()
    with pytest.raises(RuntimeError, match="before"):
        one_device_per_core()
