"""What XLA must know of a GPU to compile for it: its `GpuTargetConfigProto`, as text.

The numbers are published with XLA's sources (xla/backends/gpu/target_config/specs).
"""


def _target(
    name: str,
    *,
    major: int,
    cores: int,
    units: int,
    shared: int,
    optin: int,
    bandwidth: int,
    l2: int,
    clock: float,
    memory: int,
) -> str:
    feature = "ACCELERATED_FEATURES" if major >= 9 else "NONE"
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: {shared}
  shared_memory_per_block_optin: {optin}
  core_count: {cores} fpus_per_core: {units} clock_rate_ghz: {clock}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: {l2} device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} feature_extension: {feature} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
runtime_version {{ major: 13 }}
device_description_str: "{name}"
"""


TARGETS = {
    "a100": _target(
        "NVIDIA A100-SXM4-80GB", major=8, cores=108, units=64, shared=167936, optin=166912,
        bandwidth=2039040000000, l2=41943040, clock=1.41, memory=85100068864,
    ),
    "h100": _target(
        "NVIDIA H100 80GB HBM3", major=9, cores=132, units=128, shared=233472, optin=232448,
        bandwidth=3352320000000, l2=52428800, clock=1.98, memory=84942979072,
    ),
    "h200": _target(
        "NVIDIA H200 141GB HBM3e", major=9, cores=132, units=128, shared=233472, optin=232448,
        bandwidth=4800000000000, l2=52428800, clock=1.98, memory=151397597184,
    ),
}  # fmt: skip
