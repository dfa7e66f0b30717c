"""Counts the words of what it reads."""

import collections
import sys

import click


@click.command()
@click.version_option(package_name="tally")
def main():
    """Counts words."""
    words = collections.Counter(sys.stdin.read().split())
    for word, count in words.most_common():
        click.echo(f"{count} {word}")
