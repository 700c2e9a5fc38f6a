"""Card health as the device plugin's ConfigMap tells it."""

import json

import pytest

from supernode.topology.deviceinfo import ALL_WELL, CardReport, DeviceInfoError, read_config_map, read_report


def report(**lists: object) -> str:
    devices = {f"huawei.com/Ascend910{key}": value for key, value in lists.items()}
    return json.dumps({"DeviceInfo": {"DeviceList": devices, "UpdateTime": 1744182144}, "SuperPodID": -2})


def test_a_card_fails_by_itself_or_is_cut_off_from_its_network() -> None:
    """The example of the vendor's documentation, with a second card added."""
    lists = {"": "Ascend910-0,Ascend910-1", "-Fault": "[]", "-NetworkUnhealthy": "Ascend910-0", "-Recovering": ""}
    text = report(**lists, **{"-Unhealthy": "Ascend910-4, Ascend910-11"})
    failed, cut_off = {"huawei.com/Ascend910": 1 << 4 | 1 << 11}, {"huawei.com/Ascend910": 1 << 0}
    assert read_report(text) == CardReport(failed, cut_off)


def test_healthy_cards_are_not_listed() -> None:
    assert read_report(report(**{"-Unhealthy": "", "-NetworkUnhealthy": ""})) == ALL_WELL


def test_other_config_maps_say_nothing() -> None:
    body = {"metadata": {"name": "mindx-dl-nodeinfo-a"}, "data": {"NodeInfo": "{}"}}
    assert read_config_map(body) == ALL_WELL


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
        read_report(text)
