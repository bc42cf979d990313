from pathlib import Path

from mher_pl import memory


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"memory.{name}").write_text(f"{content}\n")


def test_the_limit_of_a_container_or_of_a_job_counts_also_where_a_group_above_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    assert memory.free_memory() == 2**63
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert memory.free_memory() == 8000 * 1024
    (tmp_path / "cgroup").write_text("1:cpu:/x\n0::/job/step\n")
    group(tmp_path / "groups" / "job" / "step", max="max", current=500, stat="inactive_file 100")
    assert memory.free_memory() == 8000 * 1024
    group(tmp_path / "groups" / "job", max=4000, current=1500, stat="active_file 7\ninactive_file 200")
    assert memory.free_memory() == 4000 - 1500 + 200
