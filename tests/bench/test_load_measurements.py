"""What the load table stands on: the reading of metrics, the pods of the floor."""

from pathlib import Path

from bench.figures import Figure
from bench.load import Table
from bench.loadbed import A3, Lags, Metrics
from bench.loadjobs import Work
from bench.plots import draw_load


def test_what_a_scrape_says_of_writes_and_lag() -> None:
    lag = "".join(
        f'supernode_loop_{kind}_seconds_bucket{{{{le="{bound}"}}}} {count}\n'
        for kind, bound, count in (
            ("lag", 0.01, "{0}"),
            ("lag", "+Inf", "{1}"),
            ("busy", 0.005, "{1}"),
            ("busy", "+Inf", "{1}"),
        )
    )
    requests = 'supernode_api_requests_total{{verb="{}",resource="{}",code="200"}} {}\n'
    before = Metrics.parse(lag.format(100, 100))
    text = "".join(
        requests.format(*what) for what in (("patch", "pods", 3), ("get", "pods", 9), ("update", "leases", 5))
    )
    after = Metrics.parse(lag.format(199, 200) + text)
    assert after.writes == 3
    assert after.since(before) == {("patch", "pods"): 3, ("get", "pods"): 9, ("update", "leases"): 5}
    assert after.lags(before) == Lags(p99=10, largest=float("inf"), own_p99=5, own_largest=5)


def test_a_table_tells_the_largest_lag_of_all_rounds() -> None:
    table = Table("t")
    table.add_lags([Lags(25, 100, 10, 50), Lags(50, 50, 25, 25), Lags(100, 1000, 50, 250)])
    assert {figure.name: figure.value for figure in table.figures} == {
        "load: t: loop lag p99, ms": 50,
        "load: t: loop lag p99 without waits for a core, ms": 25,
        "load: t: largest loop lag, ms": 1000,
        "load: t: largest loop lag without waits for a core, ms": 250,
    }


def test_the_jobs_ask_for_what_the_load_says() -> None:
    work = Work(3, 8, A3, 16, required="rack")
    jobs = work.documents()
    assert work.pods == 24
    assert len({job["metadata"]["name"] for job in jobs}) == 3
    assert {job["spec"]["workers"]["replicas"] for job in jobs} == {8}
    assert {job["spec"]["topology"]["required"] for job in jobs} == {"rack"}


def test_growth_is_drawn_by_what_grows(tmp_path: Path) -> None:
    names = ("1008 nodes: peak memory, MiB", "3024 nodes: peak memory, MiB", "1008 nodes: seconds to ready")
    figures = [Figure(f"load: growth: {name}", 3.0) for name in names] + [Figure("load: start: ratio", 1.0)]
    assert [path.name for path in draw_load(figures, tmp_path)] == [
        "load-peak-memory-mib.svg",
        "load-seconds-to-ready.svg",
    ]
