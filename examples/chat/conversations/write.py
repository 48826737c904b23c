"""Writes support.jsonl: conversations of a shop's support that nobody had, the same at each run."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

GOODS = ("lamp", "table", "chair", "clock", "carpet", "mirror", "shelf", "sofa", "desk", "vase")
TROUBLES = {
    "came broken": "We send you a new {thing} today, and you may keep the broken one.",
    "never arrived": "The carrier looks for your {thing}; if it is not there in three days, you get another one.",
    "has the wrong colour": "Send the {thing} back at our cost, and we exchange it for the right colour.",
    "is too small": "You can return the {thing} within thirty days, and we refund the whole price.",
    "makes a strange noise": "A {thing} must be silent. Our workshop repairs it, or you get a new one.",
    "lacks a screw": "The missing part of your {thing} is in the mail and arrives within two days.",
}
GREETINGS = (
    "Hello, the {thing} I ordered {trouble}.",
    "Good morning! My new {thing} {trouble}. What can I do?",
    "I am not happy: the {thing} that you sent me {trouble}!",
    "Hi, I bought a {thing} for my mother and it {trouble}. Can you help her?",
)
CONTACTS = (
    "",
    " You reach me at {name}@example.com.",
    " Please call me: 030 90{number:05d}.",
    " My order is the one of {name}@example.org, from last week.",
)
THANKS = ("Thank you, that is kind.", "Great, thanks a lot!", "How long does that take?")
GOODBYES = (
    "You are welcome. Is there anything else?",
    "With pleasure. Have a good day!",
    "At most a week. We will write to you.",
)
NAMES = ("ann", "bob", "chen", "dana", "emil", "fatma", "greta", "hugo")


def conversations(seed: int = 1) -> list[dict[str, Any]]:
    """One for each thing, trouble and greeting, two that are there again, and one that ends with a question."""
    dice, rows = random.Random(seed), list[dict[str, Any]]()
    for thing, (trouble, help_), greeting in itertools.product(GOODS, TROUBLES.items(), GREETINGS):
        contact = dice.choice(CONTACTS).format(name=dice.choice(NAMES), number=dice.randrange(100_000))
        question = greeting.format(thing=thing, trouble=trouble) + contact
        messages = [("user", question), ("assistant", f"We are sorry about the {thing}. {help_.format(thing=thing)}")]
        if dice.random() < 0.4:
            place = dice.randrange(len(THANKS))
            messages += [("user", THANKS[place]), ("assistant", GOODBYES[place])]
        rows.append({"messages": [{"role": role, "content": content} for role, content in messages]})
    dice.shuffle(rows)
    rows += [rows[3], rows[5], {"messages": [{"role": "user", "content": "Is anybody there?"}]}]
    return [{"conversation_id": f"c{place:03d}", **row} for place, row in enumerate(rows)]


if __name__ == "__main__":
    target = Path(__file__).parent / "support.jsonl"
    target.write_text("".join(json.dumps(row) + "\n" for row in conversations()))
