"""Keeps passwords and tokens out of files that people pass on: run folders, tables, pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
# The last word of a name that a secret has: HF_TOKEN, --proxy-password, AWS_SECRET_ACCESS_KEY.
_WORD = (r"(?:pass(?:word|wd|phrase)?|pwd|secret(?:_?key)?|token|api_?key|access_?key(?:_?id)?|"
         r"private_?key|credentials?|auth(?:orization)?|_key)")
_NAME = re.compile(rf"(?i)[\w.-]*{_WORD}")
# What has the form of a secret wherever it stands, and what is kept of it.
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ of an address
    (re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@]+@"), rf"\1{HIDDEN}@"),
    (re.compile(rf"(?i)([\w.-]*{_WORD}[\"']?\s*[=:]\s*[\"']?)(?:(?:bearer|basic)\s+)?[^\s\"',;&]+"),
     rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9+/=._~-]{8,}"), rf"\1 {HIDDEN}"),
    # Tokens of GitHub, GitLab, Hugging Face, OpenAI, Slack, AWS, and JSON web tokens.
    (re.compile(r"\b(?:gh[pousr]_\w{20,}|glpat-[\w-]{16,}|hf_\w{20,}|sk-[\w-]{20,}|"
                r"xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"), HIDDEN),
)


def masked(content: Any) -> Any:
    """Copies plain data, with whatever looks like a secret hidden.

    Args:
        content: Texts, numbers, mappings and sequences of them. A value under a secret's name is
            hidden as a whole; in other texts only the secret is.
    """
    if isinstance(content, str):
        return _masked_text(content)
    if isinstance(content, Mapping):
        return {key: HIDDEN if value and isinstance(value, str) and _is_secret(key)
                else masked(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return _masked_arguments(content)
    return content


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and bool(_NAME.fullmatch(name))


def _masked_arguments(parts: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Masks a command line, in which the value of ``--token VALUE`` is an argument of its own."""
    before = (None, *parts)
    return [
        HIDDEN if isinstance(part, str) and isinstance(name, str) and name.startswith("-")
        and _is_secret(name) else masked(part)
        for name, part in zip(before, parts, strict=False)
    ]


def _masked_text(text: str) -> str:
    for form, kept in _FORMS:
        text = form.sub(kept, text)
    return text
