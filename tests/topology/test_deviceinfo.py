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
    ],
)
def test_other_forms_are_refused(text: str, part: str) -> None:
    with pytest.raises(DeviceInfoError, match=part):
        read_report(text)


@pytest.mark.parametrize(
    ("key", "names", "said"),
    [
        ("-2c-Unhealthy", "Ascend910-2c-100-1", "'Ascend910-2c-100-1'"),
        ("-Unhealthy", "Ascend910-4,Ascend910-2c-100-0, Ascend910-11", "'Ascend910-2c-100-0'"),
        ("-Unhealthy", "Ascend910,Ascend910-11", "'Ascend910'"),
        ("-NetworkUnhealthy", "Ascend910-9999", "'Ascend910-9999'"),
        ("-NetworkUnhealthy", ["Ascend910-1"], "\"['Ascend910-1']\""),
    ],
    ids=["of another resource", "a part of a card", "no number", "beyond any node", "no text"],
)
def test_a_name_that_is_no_whole_card_is_passed_over_and_the_others_count(key: str, names: object, said: str) -> None:
    found = read_report(report(**{"-Unhealthy": "Ascend910-4,Ascend910-11", key: names}))
    failed = {4, 11} if key != "-Unhealthy" else {card for card in (4, 11) if f"-{card}" in str(names)}
    assert found == CardReport({"huawei.com/Ascend910": sum(1 << card for card in failed)})
    assert found.passed_over == (f"huawei.com/Ascend910{key} names {said}",)
