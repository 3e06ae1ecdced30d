"""Documents that nobody would write: real ones, with mistakes in their bytes, in their tokens or in their structure.

    originals = [mutate.Original(text) for text in texts]
    mutant = mutate.document(random.Random(f"{seed} {number}"), originals)
"""

import pickle
import random
import re
from functools import cached_property

import yaml

# What has confused a reader of YAML, of templates, of numbers or of text somewhere.
NASTY = [
    *("{{", "}}", "{{{", "{{#if", "{{/if}}", "{{> x}}", "{{!--", "{{secrets.db.password}}", "{{instance.id}}", "{{values.a}}"),
    *("{{lookup . 0}}", "{{eq 1 1}}", "{{default x}}", "{{json this}}", "{{#each values}}{{this}}{{/each}}", "\\{{x}}", "{{~x~}}"),
    *("&a", "*a", "<<: *a", "!!binary", "!!str", "!!set", "!!python/object:x", "! x", "? ", "- ", ": ", ":", "---", "...", "%YAML 1.2\n---"),
    *("|", ">-", "|+9", ">2", "'", '"', "[", "]", "{", "}", ",", "#", "# x\n", "\t", "\r", "\r\n", "\n\n", "\n  ", "\n\t"),
    *("~", "null", "NULL", "true", "yes", "No", "on", ".nan", "-.inf", "1e999999", "-0", "0x10", "0o17", "1_000", "1.20", "12:30:45"),
    *("9" * 30, "-" + "9" * 400, "18446744073709551616", "2026-11-29", "1" * 5000, "0.1e-400", "٣", "½"),
    *("\0", "\x1b[2J", "\x7f", "\u0085", "\u2028", "\ufeff", "\ud7ff", "\U0010ffff", "🦀", "ﬁ", "e\u0301" * 50, "\u202e"),
    *("a" * 70_000, "/" * 3000, "../" * 50, "/etc/../..", "/", "", " ", "s3://", "https://", "arn:aws:", "snap-", "vol-", "0s", "-1s", "9" * 20 + "h"),
    *("version", "files", "secrets", "after", "timeout", "required", "volumes.data", "files./etc/x", "signals.stack", "commands.", "."),
]
# In C where there is one: a hundred times as fast.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
TOKEN = re.compile(r"\s+|[\w./-]+|.", re.DOTALL)


class Original:
    def __init__(self, text: str):
        self.text = text

    @cached_property
    def tokens(self) -> list[str]:
        return TOKEN.findall(self.text)

    @cached_property
    def pickled(self) -> bytes:
        return pickle.dumps(yaml.safe_load(self.text))

    @property
    def tree(self) -> dict:
        """A tree of one's own."""
        return pickle.loads(self.pickled)


def some(chance: random.Random, most: int) -> int:
    """Mostly one or two, seldom `most`."""
    return min(most, 1 + int(chance.expovariate(0.7)))


def of_bytes(chance: random.Random, this: Original, other: Original) -> bytes:
    content = bytearray(this.text.encode())
    for _ in range(some(chance, 40)):
        at, size = chance.randrange(len(content) + 1), chance.choice([1, 1, 1, 2, 8, 200])
        match chance.randrange(6):
            case 0 if content:
                content[at % len(content)] ^= 1 << chance.randrange(8)
            case 1:
                del content[at : at + size]
            case 2:
                content[at:at] = chance.randbytes(size)
            case 3:
                content[at:at] = content[at : at + size] * chance.choice([1, 2, 300])
            case 4:
                content[at:] = other.text.encode()[chance.randrange(len(other.text)) :]
            case _:
                content[at:at] = bytes([chance.choice(b"\0\t\n\r {}[]:&*!|>'\"%@`#,-?\x80\xc0\xff")]) * size
    return bytes(content)


def of_tokens(chance: random.Random, this: Original, other: Original) -> bytes:
    tokens, others = list(this.tokens), other.tokens
    for _ in range(some(chance, 20)):
        at = chance.randrange(len(tokens) + 1)
        match chance.randrange(6):
            case 0:
                tokens[at : at + 1] = [chance.choice(NASTY)]
            case 1:
                tokens.insert(at, chance.choice(NASTY))
            case 2:
                del tokens[at : at + chance.choice([1, 1, 3, 20])]
            case 3:
                tokens[at : at + 1] = [chance.choice(others)]
            case 4:
                first = chance.randrange(len(tokens) + 1)
                tokens[at:at] = tokens[first : first + chance.choice([1, 5, 40])]
            case _ if tokens:
                there = chance.randrange(len(tokens))
                tokens[at % len(tokens)], tokens[there] = tokens[there], tokens[at % len(tokens)]
    return "".join(tokens).encode("utf-8", "surrogatepass")


def places(tree) -> list:
    """Every place in a tree at which something is: where, and by which key. What is at several places is walked once, since
    after some changes it holds itself."""
    found, seen, left = [], set(), [tree]
    while left:
        node = left.pop()
        if not isinstance(node, dict | list) or id(node) in seen:
            continue
        seen.add(id(node))
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            found.append((node, key))
            left.append(node[key])
    return found


def deep(chance: random.Random):
    node = chance.choice(NASTY)
    for _ in range(chance.choice([3, 60, 400])):
        node = [node] if chance.random() < 0.5 else {chance.choice(["a", "files", "from"]): node}
    return node


def of_structure(chance: random.Random, this: Original, other: Original) -> bytes:
    tree, others = this.tree, places(other.tree)
    for _ in range(some(chance, 12)):
        at = places(tree)
        if not at:
            break
        node, key = chance.choice(at)
        match chance.randrange(9):
            case 0:
                node[key] = chance.choice([None, True, 0, -1, 1.5, 10**25, "", [], {}, [None], {"": ""}])
            case 1:
                node[key] = chance.choice(NASTY)
            case 2:
                there, name = chance.choice(others)
                node[key] = there[name]
            case 3:
                del node[key]
            case 4 if isinstance(node, dict):
                node[chance.choice([str(key) + "x", chance.choice(NASTY), str(chance.choice(at)[1])])] = node.pop(key)
            case 5:
                there, name = chance.choice(at)
                node[key], there[name] = there[name], node[key]
            case 6:
                node[key] = [node[key]] * chance.choice([1, 2, 500])
            case 7:
                node[key] = {f"{key}{number}": node[key] for number in range(chance.choice([1, 3, 200]))}
            case _:
                node[key] = deep(chance)
    try:
        return ("#ingot\n" + yaml.dump(tree, Dumper=DUMPER, sort_keys=False, default_flow_style=chance.choice([None, True, False]))).encode()
    except (RecursionError, ValueError, yaml.YAMLError):  # too deep, or half a surrogate
        return of_tokens(chance, this, other)


def document(chance: random.Random, originals: list[Original]) -> bytes:
    change = chance.choice([of_bytes, of_tokens, of_structure])
    return change(chance, chance.choice(originals), chance.choice(originals))


def is_tree(text: str) -> bool:
    """Whether it can be changed in its structure."""
    try:
        return isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        return False
