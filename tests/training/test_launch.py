"""The files for accelerate and Slurm: they parse, say that they were not run, and mean what they are called."""

import subprocess
from pathlib import Path

import pytest
import yaml
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command as validated
from accelerate.commands.launch import launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

LAUNCH = Path(__file__).parents[2] / "recipes" / "launch"
EXPECTED = {
    "ddp": "MULTI_GPU",
    "fsdp2": "FSDP",
    "zero2": "DEEPSPEED",
    "zero3": "DEEPSPEED",
    "nodes": "MULTI_GPU",
}


def test_there_is_one_for_each_way_and_each_says_what_it_is():
    assert {path.stem for path in LAUNCH.glob("*.yaml")} == EXPECTED.keys()
    for path in LAUNCH.iterdir():
        lines = path.read_text().splitlines()
        assert next(line for line in lines if not line.startswith("#!")).startswith("# Not run. Needs "), path.name


@pytest.mark.parametrize("name", EXPECTED)
def test_accelerate_reads_it(name):
    config = load_config_from_file(str(LAUNCH / f"{name}.yaml"))
    assert config.distributed_type == EXPECTED[name]
    assert config.deepspeed_config.get("zero_stage") == {"zero2": 2, "zero3": 3}.get(name)


def test_accelerate_makes_of_it_what_it_is_called(monkeypatch):
    words = ["--config_file", str(LAUNCH / "fsdp2.yaml"), "-m", "diotima", "train", "sft"]
    args, _, _ = validated(launch_command_parser().parse_args(words))
    for key, value in prepare_multi_gpu_env(args).items():
        monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert not plugin.cpu_ram_efficient_loading


@pytest.mark.parametrize("name", EXPECTED)
def test_on_several_machines_each_starts_its_own_processes_and_knows_the_first(name):
    words = ["--config_file", str(LAUNCH / f"{name}.yaml"), "--num_machines", "2", "--num_processes", "16"]
    words += ["--machine_rank", "1", "--main_process_ip", "first", "--main_process_port", "29500", "-m", "diotima"]
    args, _, _ = validated(launch_command_parser().parse_args(words))
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ""
        command, _ = prepare_deepspeed_cmd_env(args)
        assert command is None  # else accelerate would start the processes of all machines, by pdsh, from each
    else:
        prepare_multi_gpu_env(args)
    told = (args.nnodes, args.nproc_per_node, args.node_rank, args.rdzv_backend, args.rdzv_endpoint)
    assert told == ("2", "8", 1, "static", "first:29500")


@pytest.mark.parametrize("name", EXPECTED)
def test_what_it_says_is_what_accelerate_does(name):
    """Accelerate takes a field of the file only where its command line has no default of its own for it."""
    path = LAUNCH / f"{name}.yaml"
    args, _, _ = validated(launch_command_parser().parse_args(["--config_file", str(path), "-m", "diotima"]))
    elsewhere = {"compute_environment", "distributed_type", "use_cpu"}
    for key, value in yaml.safe_load(path.read_text()).items():
        for name_within, said in value.items() if isinstance(value, dict) else [(key, value)]:
            if name_within not in elsewhere:
                assert str(getattr(args, name_within)).lower() == str(said).lower(), name_within


def test_the_script_for_slurm_is_valid_shell_and_hands_its_words_on(tmp_path):
    script = LAUNCH / "slurm.sh"
    for name, body in (
        ("scontrol", "echo first; echo second"),
        ("srun", 'echo "$2"; shift 2; export SLURM_NODEID=1; exec "$@"'),
        ("accelerate", 'printf "%s\\n" "$@"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2"}
    environment |= {"SLURM_GPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "16"}
    words = ["nodes.yaml", "train", "sft", "--out", "a folder"]
    done = subprocess.run(["bash", str(script), *words], env=environment, capture_output=True, text=True, check=True)
    cpus, *said = done.stdout.splitlines()
    assert cpus == "--cpus-per-task=16"
    options, handed_on = said[1 : said.index("-m")], said[said.index("-m") :]
    assert handed_on == ["-m", "diotima", "train", "sft", "--out", "a folder"]
    options = dict(zip(options[::2], options[1::2], strict=True))
    assert options == {
        "--config_file": "nodes.yaml",
        "--num_machines": "2",
        "--num_processes": "16",
        "--machine_rank": "1",
        "--main_process_ip": "first",
        "--main_process_port": "29500",
    }
