#!/usr/bin/env python3
"""Write datasets/support-desk.jsonl and datasets/support-desk-heldout.jsonl.

    scripts/make-support-desk.py [OUT]          default: datasets

A support desk sorts tickets: every ticket names a product and a problem, and may say how urgent it
is; the answer is four lines that follow from those three facts and nothing else. The held-out
part has tickets of its own, and phrases and products that training never shows. The texts were
written for this project. The same seed gives the same bytes.
"""

import json
import random
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import command_line

SEED = 7
TRAIN_PER_PROBLEM = 18
HELDOUT_PER_PROBLEM = 4
INSTRUCTION = "Sort this support ticket into category, priority, team and summary."

TEAMS = {
    "hardware": "Repairs",
    "software": "Systems",
    "billing": "Accounts",
    "delivery": "Logistics",
    "account": "Identity",
}

PRODUCTS = (
    "Orbit router",
    "Pico printer",
    "Atlas tablet",
    "Vesta thermostat",
    "Kestrel camera",
    "Solace speaker",
    "Juniper monitor",
    "Brisk scanner",
    "Lumen projector",
    "Marlow laptop",
    "Tidal headset",
    "Cobalt phone",
)
HELDOUT_PRODUCTS = ("Maple doorbell", "Sable keyboard", "Fjord vacuum", "Ember lamp")


@dataclass(frozen=True)
class Problem:
    """`{P}` begins a sentence with the product, `{p}` names it inside one."""

    category: str
    summary: str
    phrases: tuple[str, ...]
    heldout: tuple[str, ...]


PROBLEMS = (
    Problem(
        "hardware",
        "no power",
        (
            "{P} does not turn on any more.",
            "{P} stays dark when I press the button.",
            "Since yesterday {p} will not start.",
            "{P} is completely dead.",
            "No light on {p}, it just will not switch on.",
            "I plugged {p} in and nothing happens at all.",
            "{P} refuses to power up.",
            "I cannot get {p} to start.",
        ),
        (
            "{P} shows no sign of life.",
            "Pressing the power button of {p} does nothing.",
            "{P} went black and never came back on.",
        ),
    ),
    Problem(
        "hardware",
        "overheating",
        (
            "{P} gets very hot after a few minutes.",
            "{P} is too hot to touch.",
            "After an hour {p} switches itself off because of the heat.",
            "{P} keeps warning about its temperature.",
            "I could nearly burn my hand on {p}.",
            "The case of {p} becomes extremely warm.",
            "{P} runs much too hot.",
            "{P} shows a heat warning.",
        ),
        (
            "{P} heats up like an oven.",
            "The bottom of {p} is burning hot.",
            "{P} stops with a message that it is too warm.",
        ),
    ),
    Problem(
        "hardware",
        "loud noise",
        (
            "{P} makes a grinding noise.",
            "{P} has begun to rattle.",
            "There is a loud buzzing from {p}.",
            "{P} squeaks whenever it runs.",
            "{P} has become terribly noisy.",
            "I hear a clicking sound inside {p}.",
            "{P} hums so loudly that we cannot talk.",
            "A strange whistle comes out of {p}.",
        ),
        (
            "{P} sounds like a lawn mower.",
            "{P} hisses and scrapes all day long.",
            "The racket from {p} keeps me awake.",
        ),
    ),
    Problem(
        "software",
        "no connection",
        (
            "{P} drops the wifi again and again.",
            "{P} cannot find the network.",
            "{P} goes offline every evening.",
            "{P} will not connect to the internet.",
            "The link between {p} and the network keeps breaking.",
            "{P} says that there is no signal.",
            "{P} loses its connection all the time.",
            "I cannot connect {p} to our wifi.",
        ),
        (
            "{P} keeps falling off the wireless network.",
            "{P} has been offline since the weekend.",
            "{P} tells me that no internet is available.",
        ),
    ),
    Problem(
        "software",
        "failed update",
        (
            "The update of {p} stops halfway.",
            "{P} shows an error when I install the new version.",
            "The new firmware will not install on {p}.",
            "{P} hangs in the middle of the update.",
            "I tried to upgrade {p} and it failed.",
            "The software update on {p} never finishes.",
            "Updating {p} ends with an error message.",
            "{P} goes back to the old version every time I update it.",
        ),
        (
            "The latest release refuses to load on {p}.",
            "{P} gets stuck while it installs the newest version.",
            "The upgrade of {p} breaks off each time.",
        ),
    ),
    Problem(
        "software",
        "app crash",
        (
            "The app for {p} crashes at once.",
            "The app for {p} freezes when I open it.",
            "The app for {p} turns white and quits.",
            "Whenever I open the app for {p}, it shuts down.",
            "The app for {p} keeps closing by itself.",
            "The program for {p} crashed three times.",
            "The app for {p} stops responding.",
            "I open the app for {p} and it disappears.",
        ),
        (
            "The app for {p} locks up and then vanishes.",
            "The app that controls {p} dies after two seconds.",
            "The companion app of {p} hangs all the time.",
        ),
    ),
    Problem(
        "billing",
        "double charge",
        (
            "I was charged twice for {p}.",
            "You took the money for {p} two times.",
            "My card shows two payments for {p}.",
            "I paid once for {p} but was billed twice.",
            "There are two debits for {p} on my statement.",
            "The payment for {p} was taken double.",
            "You billed {p} twice.",
            "My bank lists the price of {p} two times.",
        ),
        (
            "The same amount for {p} left my bank a second time.",
            "Why did {p} cost me double on my card?",
            "I see a duplicate payment for {p}.",
        ),
    ),
    Problem(
        "billing",
        "missing refund",
        (
            "I returned {p} and never got my money back.",
            "I am still waiting for the refund for {p}.",
            "You promised to pay me back for {p}, but nothing came.",
            "My refund for {p} has not arrived.",
            "I sent {p} back weeks ago and have seen no money.",
            "The money for the return of {p} is missing.",
            "When do I get my money back for {p}?",
            "No refund for {p} so far.",
        ),
        (
            "I gave {p} back and you still owe me the price.",
            "The repayment for {p} is nowhere to be seen.",
            "I returned {p} last month, where is my money?",
        ),
    ),
    Problem(
        "billing",
        "wrong invoice",
        (
            "The invoice for {p} has the wrong address.",
            "The bill for {p} shows another company name.",
            "The amount on the invoice for {p} is not correct.",
            "Please correct the bill for {p}, the tax is wrong.",
            "My invoice for {p} has a mistake in it.",
            "There is an error on the bill for {p}.",
            "The total on the invoice for {p} is false.",
            "You put the wrong tax number on the bill for {p}.",
        ),
        (
            "The figures on the invoice for {p} do not add up.",
            "The bill for {p} carries somebody else's name.",
            "Our accountant rejected the invoice for {p}.",
        ),
    ),
    Problem(
        "delivery",
        "late parcel",
        (
            "{P} has not arrived yet.",
            "I ordered {p} two weeks ago and still have nothing.",
            "The parcel with {p} is late.",
            "{P} should have been here on Monday.",
            "Where is {p}? I ordered it long ago.",
            "The delivery of {p} is overdue.",
            "I am still waiting for the parcel with {p}.",
            "The tracking of {p} has not moved for days.",
        ),
        (
            "The courier never showed up with {p}.",
            "{P} was due last week and is not here.",
            "How much longer until {p} is delivered?",
        ),
    ),
    Problem(
        "delivery",
        "wrong item",
        (
            "I ordered {p} and received something else.",
            "There was another device in the box of {p}.",
            "You sent me the wrong thing instead of {p}.",
            "Instead of {p} I got a toaster.",
            "The parcel held the wrong colour of {p}.",
            "I received a different model, not {p}.",
            "My package did not contain {p} but another product.",
            "I got somebody else's order and not {p}.",
        ),
        (
            "I unpacked a garden hose where {p} should have been.",
            "This is another product and not {p} at all.",
            "You mixed up my order, this is not {p}.",
        ),
    ),
    Problem(
        "delivery",
        "damaged item",
        (
            "{P} arrived with a crack.",
            "The box of {p} was crushed when it came.",
            "{P} came out of the parcel broken.",
            "{P} was damaged on the way.",
            "{P} was delivered with a dent.",
            "The courier dropped {p}, and it is scratched.",
            "I opened the parcel and {p} was in pieces.",
            "{P} reached us with a broken corner.",
        ),
        (
            "{P} got smashed in the post.",
            "The package was torn and {p} is bent.",
            "{P} came with a shattered cover.",
        ),
    ),
    Problem(
        "account",
        "forgotten password",
        (
            "I forgot the password for {p}.",
            "I do not remember my password for {p}.",
            "Please reset the password of {p}.",
            "The password for {p} is gone from my mind.",
            "I lost the note with the password for {p}.",
            "How can I get a new password for {p}?",
            "I need to set a new password for {p}.",
            "I no longer know the password of {p}.",
        ),
        (
            "My memory fails me, what was the password for {p}?",
            "The password for {p} has slipped my mind.",
            "Can you send me a fresh password for {p}?",
        ),
    ),
    Problem(
        "account",
        "locked account",
        (
            "My account for {p} is locked.",
            "I am locked out of the account for {p}.",
            "After three tries the account for {p} was blocked.",
            "The account for {p} says that it is suspended.",
            "You blocked my access to {p}.",
            "My login for {p} was disabled.",
            "Too many attempts, my account for {p} is blocked.",
            "My user name for {p} has been deactivated.",
        ),
        (
            "The account for {p} has been frozen.",
            "I am barred from signing in to {p}.",
            "{P} tells me that my account is disabled.",
        ),
    ),
    Problem(
        "account",
        "new email",
        (
            "Please change the email address for {p}.",
            "I have a new email, please update the account for {p}.",
            "My old email for {p} no longer exists.",
            "How do I switch the account for {p} to another email?",
            "I want to use a different email with {p}.",
            "The email in my account for {p} is out of date.",
            "Please move the account for {p} to my new email.",
            "I need to correct the email of the account for {p}.",
        ),
        (
            "Please register {p} under my other email.",
            "I changed jobs and with it the email for {p}.",
            "Replace the email on file for {p}, please.",
        ),
    ),
)

# What a ticket says about urgency.
URGENCY = {
    "high": (
        "This is urgent.",
        "I need it fixed today.",
        "We cannot work until it is solved.",
        "Please help at once.",
        "It is an emergency.",
        "The whole office is waiting.",
    ),
    "normal": (
        "Please answer this week.",
        "Some time this week would be good.",
        "A reply in the next days is fine.",
        "I hope to hear from you this week.",
        "Can you look at it in a day or two?",
        "Within three days is good.",
    ),
    "low": (
        "No hurry.",
        "It can wait.",
        "Whenever you find time.",
        "This is not urgent.",
        "There is no rush.",
        "Take your time.",
    ),
}
HELDOUT_URGENCY = {
    "high": (
        "Please solve it today, it is urgent.",
        "Nobody can work, help us at once.",
    ),
    "normal": (
        "An answer in two days is fine.",
        "It would be good to hear from you this week.",
    ),
    "low": (
        "There is no hurry at all.",
        "It can wait until you find time.",
    ),
}

OPENINGS = ("", "", "", "Hello.", "Hi.", "Hi there.", "Good morning.", "Hello again.")
CLOSINGS = ("", "", "", "Thanks.", "Thank you!", "Regards, {n}", "Best, {n}", "{n}", "Bye, {n}")
NAMES = "Ada Ben Carla David Emma Farid Greta Hugo Ines Jonas Kira Leo Mona Nils Olga Paul".split()
ASIDES = (
    *("", "", "", "", "", "", "", "", ""),
    "I bought it in March.",
    "It is the blue one.",
    "My neighbour has the same one.",
    "I have been a customer for years.",
    "It was a present.",
    "We have two of them.",
)


def ticket(rng: random.Random, product: str, phrase: str, urgency: str) -> str:
    """One ticket: the phrase that states the problem, with what people write around it."""
    article = rng.choice(("my", "our", "the", "my"))
    body = phrase.format(P=f"{article.capitalize()} {product}", p=f"{article} {product}")
    around = [rng.choice(ASIDES), urgency]
    rng.shuffle(around)
    # Urgency may come first: "This is urgent. My printer ..."
    sentences = [body, *around] if rng.random() < 0.75 else [urgency, body, around[0]]
    unique = list(dict.fromkeys(s for s in sentences if s))
    closing = rng.choice(CLOSINGS).format(n=rng.choice(NAMES))
    text = " ".join(s for s in (rng.choice(OPENINGS), *unique, closing) if s)
    return text.lower().replace(",", "").rstrip(".!") if rng.random() < 0.1 else text


def answer(product: str, problem: Problem, priority: str) -> str:
    return (
        f"Category: {problem.category}\n"
        f"Priority: {priority}\n"
        f"Team: {TEAMS[problem.category]}\n"
        f"Summary: {product}, {problem.summary}"
    )


def record(text: str, reply: str) -> dict:
    return {
        "messages": [
            {"role": "user", "content": f"{INSTRUCTION}\n\n{text}"},
            {"role": "assistant", "content": reply},
        ]
    }


def shuffled(rng: random.Random, items: tuple) -> cycle:
    """The items round and round, in an order drawn once."""
    return cycle(rng.sample(items, len(items)))


def make_train(rng: random.Random) -> list[dict]:
    """Every problem equally often, with every phrase, product and priority in turn."""
    records = []
    products = shuffled(rng, PRODUCTS)
    urgency = {priority: shuffled(rng, sentences) for priority, sentences in URGENCY.items()}
    for problem in PROBLEMS:
        phrases = shuffled(rng, problem.phrases)
        priorities = shuffled(rng, tuple(URGENCY))
        for _ in range(TRAIN_PER_PROBLEM):
            product, priority = next(products), next(priorities)
            text = ticket(rng, product, next(phrases), next(urgency[priority]))
            records.append(record(text, answer(product, problem, priority)))
    rng.shuffle(records)
    return records


def make_heldout(rng: random.Random, seen: set[str]) -> list[dict]:
    """Half of the problem phrases and urgencies and a third of the products are new."""
    records = []
    new_products, products = shuffled(rng, HELDOUT_PRODUCTS), shuffled(rng, PRODUCTS)
    priorities = shuffled(rng, tuple(URGENCY))
    for problem in PROBLEMS:
        new_phrases = shuffled(rng, problem.heldout)
        phrases = shuffled(rng, problem.phrases)
        for i in range(HELDOUT_PER_PROBLEM):
            priority = next(priorities)
            product = next(new_products if rng.random() < 1 / 3 else products)
            phrase = next(phrases if i % 2 else new_phrases)
            urgency = rng.choice((HELDOUT_URGENCY if rng.random() < 0.5 else URGENCY)[priority])
            text = ticket(rng, product, phrase, urgency)
            while text in seen:
                text = ticket(rng, product, phrase, urgency)
            records.append(record(text, answer(product, problem, priority)))
    rng.shuffle(records)
    return records


def write(path: Path, records: list[dict]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))


def main() -> None:
    out = command_line.output(__doc__, "datasets")
    rng = random.Random(SEED)
    train = make_train(rng)
    seen = {r["messages"][0]["content"].removeprefix(f"{INSTRUCTION}\n\n") for r in train}
    heldout = make_heldout(rng, seen)
    write(out / "support-desk.jsonl", train)
    write(out / "support-desk-heldout.jsonl", heldout)
    print(f"{len(train)} records to train on, {len(heldout)} held out")


if __name__ == "__main__":
    main()
