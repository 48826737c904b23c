#!/usr/bin/env python3
"""Turns `pulumi preview --json` into one comment and keeps it up to date on a pull request.

Needs Python 3.11 and nothing else. Exit codes: 0 success, 2 unusable input, 3 refused by the host.
"""

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from previews import reading, render
from previews.hosts import Host, HostError
from previews.reading import Preview, PreviewError
from previews.scrub import Scrubber

_PARTS = 4
"""How many parts of a usual size one comment holds."""
_EPILOG = """examples:
  pulumi preview --json --stack dev > dev.json; preview_comment.py dev.json
  preview_comment.py --post github dev.json staging.json prod.json
  preview_comment.py --save dev.part dev.json; preview_comment.py --post github --part dev.part --part prod.part
  preview_comment.py --post gitlab --failed prod=prod.log dev.json
  pulumi refresh --preview-only --json --stack prod > drift.json; preview_comment.py --drift --post github drift.json

environment of --post:
  github  GITHUB_TOKEN, GITHUB_REPOSITORY, GITHUB_REF (refs/pull/NUMBER/merge), GITHUB_API_URL;
          on Jenkins CHANGE_URL or GIT_URL, and CHANGE_ID
  gitlab  GITLAB_TOKEN (scope `api`; a job token may not write notes), CI_PROJECT_ID, CI_MERGE_REQUEST_IID,
          CI_API_V4_URL
"""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """The command. Prints the comment or, after posting, its status; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    host = options.post or options.format
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # the terminal's own may lack characters of the comment
    try:
        scrubber = Scrubber(environment.get(name, "") for name in options.scrub_env)
        key = options.key or ("drift" if options.drift else "preview")
        title = options.title or ("Drift" if options.drift else "Preview")
        if options.part:
            parts = [_read_part(Path(path)) for path in options.part]
            body = render.join(parts, host, title=title, key=key)
            drifted = any(part.changed for part in parts)
        else:
            previews = _previews(options)
            if options.save:
                _save(previews, options, scrubber)
            body = render.render(previews, host, scrubber=scrubber, title=title, key=key, limit=options.limit)
            drifted = any(preview.steps or preview.errors for preview in previews)
        if options.post is None:
            sys.stdout.write(body)
            return 0
        print(_post(options, environment, render.marker(key), body, title, drifted))
    except PreviewError as error:
        print(f"preview_comment: {error}", file=sys.stderr)
        return 2
    except HostError as error:
        print(f"preview_comment: {error}", file=sys.stderr)
        return 3
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("previews", nargs="*", metavar="[STACK=]FILE", help="JSON of a preview; `-` is standard input")
    parser.add_argument(
        "--failed",
        action="append",
        default=[],
        metavar="STACK=FILE",
        help="log of a preview that failed before writing JSON",
    )
    parser.add_argument(
        "--events", action="append", default=[], metavar="STACK=FILE", help="event log of a preview: policy violations"
    )
    parser.add_argument("--format", choices=sorted(render.LIMITS), default="text", help="what to print (default: text)")
    parser.add_argument(
        "--post", choices=["github", "gitlab"], help="post it to the pull request instead of printing it"
    )
    parser.add_argument(
        "--drift", action="store_true", help="the files come from `refresh --preview-only`: keep one issue up to date"
    )
    parser.add_argument(
        "--save", metavar="PART", help="also write the stack's share of the comment to this file, for --part"
    )
    parser.add_argument(
        "--part",
        action="append",
        default=[],
        metavar="PART",
        help="a file that --save wrote; several make one comment, without any preview at hand",
    )
    parser.add_argument("--project", help="owner/name, or a GitLab project's ID or path")
    parser.add_argument("--number", type=int, help="number of the pull or merge request")
    parser.add_argument("--api", help="URL of the host's API")
    parser.add_argument("--author", help="login of the comment's author (default: the token's owner)")
    parser.add_argument("--key", help="distinguishes several comments on one pull request (default: preview, or drift)")
    parser.add_argument("--title", help="heading (default: Preview, or Drift)")
    parser.add_argument("--limit", type=int, help="maximum size of the comment in bytes (default: the host's limit)")
    parser.add_argument(
        "--scrub-env", action="append", default=[], metavar="NAME", help="also hide this environment variable's value"
    )
    return parser


def _previews(options: argparse.Namespace) -> list[Preview]:
    """The previews in the order of the arguments, the failed ones last. Raises PreviewError."""
    if options.limit is not None and options.limit < 1000:
        raise PreviewError(f"--limit is {options.limit}, must be at least 1000")
    previews = []
    for argument in options.previews:
        stack, _, path = argument.rpartition("=")
        if path == "-":
            previews.append(reading.read(_standard_input(), source="standard input", stack=stack or None))
        else:
            previews.append(reading.read_file(Path(path), stack or None))
    for argument in options.failed:
        stack, path = _pair(argument, "--failed")
        previews.append(reading.failed(Path(path), stack))
    if not previews:
        raise PreviewError("no preview given; see --help")
    names = [preview.stack for preview in previews]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise PreviewError(f"the stack {duplicates[0]!r} is given twice")
    for argument in options.events:
        stack, path = _pair(argument, "--events")
        if stack not in names:
            raise PreviewError(f"--events {argument}: there is no preview of {stack!r}")
        index = names.index(stack)
        previews[index] = replace(previews[index], violations=reading.read_violations(Path(path)))
    return previews


def _save(previews: Sequence[Preview], options: argparse.Namespace, scrubber: Scrubber) -> None:
    if len(previews) != 1:
        raise PreviewError(f"--save takes one preview, {len(previews)} are given")
    limit = options.limit or render.LIMITS["github"] // _PARTS
    part = render.part(previews[0], scrubber=scrubber, limit=limit)
    Path(options.save).write_text(json.dumps(asdict(part)), encoding="utf-8")


def _read_part(path: Path) -> render.Part:
    try:
        return render.Part(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise PreviewError(f"{path} is not a part that --save wrote: {error}") from None


def _standard_input() -> str:
    try:
        return reading.decoded(sys.stdin.buffer.read())
    except UnicodeDecodeError as error:
        raise PreviewError(f"standard input can't be read: {error}") from None


def _pair(argument: str, option: str) -> tuple[str, str]:
    stack, separator, path = argument.partition("=")
    if not (stack and separator and path):
        raise PreviewError(f"{option} is {argument!r}, must be STACK=FILE")
    return stack, path


def _post(
    options: argparse.Namespace, environment: Mapping[str, str], marker: str, body: str, title: str, drifted: bool
) -> str:
    host = _host(options, environment)
    if options.drift:
        return f"issue {host.report(title, marker, body, open_=drifted)}"
    number = options.number or _number(options.post, environment)
    return f"comment {host.comment(number, marker, body)}"


def _host(options: argparse.Namespace, environment: Mapping[str, str]) -> Host:
    github = options.post == "github"
    variables = ("GITHUB_TOKEN", "GITHUB_REPOSITORY") if github else ("GITLAB_TOKEN", "CI_PROJECT_ID")
    api = environment.get("GITHUB_API_URL" if github else "CI_API_V4_URL")
    api = options.api or api or ("https://api.github.com" if github else "https://gitlab.com/api/v4")
    token, project = environment.get(variables[0]), options.project or environment.get(variables[1])
    if github and not project:
        project = _of_address(environment.get("CHANGE_URL") or environment.get("GIT_URL") or "")
    if not token:
        raise PreviewError(f"{variables[0]} is not set, it is required by --post {options.post}")
    if not project:
        raise PreviewError(f"--project is missing and {variables[1]} is not set")
    if not re.match(r"https://|http://(localhost|127\.0\.0\.1)[:/]", api):
        raise PreviewError(f"--api is {api}, must be https://…: the token would be sent in plain text")
    return Host(options.post, api, project, token, options.author)


def _of_address(address: str) -> str | None:
    """`owner/name` of the addresses that Jenkins knows."""
    match = re.search(r"[/:]([\w.-]+/[\w.-]+?)(?:\.git|/pull/\d+)?/?$", address)
    return match[1] if match else None


def _number(kind: str, environment: Mapping[str, str]) -> int:
    if kind == "github":
        match = re.fullmatch(r"refs/pull/(\d+)/\w+", environment.get("GITHUB_REF", ""))
        number = match[1] if match else environment.get("CHANGE_ID", "")
    else:
        number = environment.get("CI_MERGE_REQUEST_IID", "")
    if not number.isdigit():
        raise PreviewError("--number is missing and this is not a job of a pull or merge request")
    return int(number)


if __name__ == "__main__":
    sys.exit(main())
