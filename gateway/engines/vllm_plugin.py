"""What Naru changes of the vLLM that is installed beside it: vLLM loads it in all its processes.

It is an entry point of the group `vllm.general_plugins`; `VLLM_PLUGINS` may name who is loaded.
"""


def leave_the_cpu() -> None:
    """Let vLLM's processes for the CPU sleep where they wait for each other, not `sched_yield`.

    Its core and its worker yield thousands of times per token. Linux 6.18.44 then ran nothing
    else on two cores until the answer had ended, for ten seconds and more: no gateway, no
    PostgreSQL. This is vLLM's own other way to wait, for Pythons whose `sched_yield` holds the
    GIL. With one GPU nothing of it waits so.
    """
    from vllm.distributed import utils
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        utils.USE_SCHED_YIELD = False
