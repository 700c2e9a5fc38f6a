"""Card health as the device plugin's ConfigMap tells it."""

import json

import pytest

from supernode.topology.deviceinfo import DeviceInfoError, unhealthy_devices


def report(**lists: object) -> str:
    devices = {f"huawei.com/Ascend910{key}": value for key, value in lists.items()}
    return json.dumps({"DeviceInfo": {"DeviceList": devices, "UpdateTime": 1744182144}, "SuperPodID": -2})


def test_a_card_is_unhealthy_by_itself_or_by_its_network() -> None:
    """The example of the vendor's documentation, with a second card added."""
    lists = {"": "Ascend910-0,Ascend910-1", "-Fault": "[]", "-NetworkUnhealthy": "Ascend910-0", "-Recovering": ""}
    text = report(**lists, **{"-Unhealthy": "Ascend910-4, Ascend910-11"})
    assert unhealthy_devices(text) == {"huawei.com/Ascend910": 1 << 0 | 1 << 4 | 1 << 11}


def test_healthy_cards_are_not_listed() -> None:
    assert unhealthy_devices(report(**{"-Unhealthy": "", "-NetworkUnhealthy": ""})) == {}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "not JSON"),
        ("[]", "DeviceInfo.DeviceList"),
        ('{"DeviceInfo": {"DeviceList": 3}}', "DeviceInfo.DeviceList"),
        (report(**{"-Unhealthy": ["Ascend910-1"]}), "device names with commas"),
        (report(**{"-Unhealthy": "Ascend910"}), "such as Ascend910-4"),
        (report(**{"-Unhealthy": "Ascend910-2c-100-0"}), "a whole card"),
        (report(**{"-Unhealthy": "Ascend910-9999"}), "a whole card"),
    ],
)
def test_other_forms_are_refused(text: str, part: str) -> None:
    with pytest.raises(DeviceInfoError, match=part):
        unhealthy_devices(text)
