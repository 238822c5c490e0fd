"""`kubectl finetune completion`."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script by which SHELL completes `kubectl-finetune`.

    \b
    bash   source <(kubectl finetune completion bash)        in ~/.bashrc
    zsh    source <(kubectl finetune completion zsh)         in ~/.zshrc
    fish   kubectl finetune completion fish | source         in ~/.config/fish/config.fish

    `kubectl finetune` itself is completed by kubectl's own script (kubectl completion --help), which asks the program
    kubectl_complete-finetune; that is installed beside kubectl-finetune.
    """
    from finetune_sdk.cli.kubectl import COMPLETE_VARIABLE, PROGRAM, kubectl_finetune

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click knows no completion for {shell}")
    click.echo(kind(kubectl_finetune, {}, PROGRAM, COMPLETE_VARIABLE).source())
