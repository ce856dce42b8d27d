"""Texts that the tiny base learns from: short tasks in the Alpaca form, written for this project.

They teach copying, looking up and rephrasing, and the words that people use towards a support
desk. They do not contain the answers of datasets/support-desk*.jsonl, nor their instruction, their
products or the phrases of the held-out part.
"""

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path

PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n"
)
PROMPT = "### Instruction:\n{}\n\n### Response:\n"

FIRST = (
    "Amber Basil Cedar Delta Echo Flint Garnet Hazel Indigo Jasper Krypton Linden Meteor Nova Onyx "
    "Pebble Quartz Raven Saffron Topaz Umber Velvet Walnut Xenon Yarrow Zephyr Birch Comet Dune "
    "Falcon Glacier Heron Iris Jade Kiwi Lotus Mango Nectar Opal Plum Robin Shell Tiger Violet"
).split()
NOUNS = (
    "router printer tablet thermostat camera speaker monitor scanner projector laptop headset "
    "phone doorbell keyboard vacuum lamp clock kettle heater radio toaster mixer drone charger "
    "mouse switch sensor modem oven fridge washer dryer fan scale lock alarm bell pump cable"
).split()
SYLLABLES = (
    "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu bra clo dre fli gru ple sta"
).split()
WORDS = (
    "apple river stone cloud bread chair window garden paper bridge horse candle winter summer "
    "mountain ocean forest pencil bottle basket mirror carpet button pocket ladder hammer needle "
    "thread pillow blanket jacket dinner market village harbour island castle tower engine wheel "
    "silver copper golden yellow purple orange green white black small large quick slow happy quiet"
).split()
KEYS = (
    "Name Town Age Colour Size Animal Food Drink Month Street Hobby Weather Music Metal Tree Fruit "
    "Country Sport Tool Shape"
).split()

# One word for what a ticket of each category is about; not the words of the data set's answers.
TOPICS = {
    "hardware": "device",
    "software": "program",
    "billing": "money",
    "delivery": "parcel",
    "account": "user",
}

# Words that go together, around what people write about.
RELATED = (
    "power start turn switch button dead dark black plug life light",
    "hot heat warm burning oven fire temperature touch burn",
    "noise loud sound buzz rattle click hum whistle squeak scrape hiss racket mower",
    "connection network wifi wireless internet signal offline link online",
    "update version firmware upgrade release install new old newest latest",
    "app program open crash freeze quit close hang vanish die lock disappear",
    "charged twice two payments double second duplicate billed debits price card bank",
    "refund money back return repayment returned owe pay price sent",
    "invoice bill address tax amount total figures name error mistake accountant rejected",
    "parcel late arrived waiting overdue tracking delivery courier delivered due here",
    "wrong other another different model instead mixed order toaster hose",
    "damaged broken crack dent crushed scratched pieces smashed torn bent shattered post",
    "password forgot remember reset lost note memory mind know fresh slipped",
    "locked blocked suspended disabled deactivated access login barred frozen sign",
    "email mail address change old new replace register move jobs",
    "urgent today emergency once office work nobody help",
    "week days answer reply good fine two three",
    "hurry wait time rush urgent later",
)

# How soon, in words that the data set's answers do not use.
SOON = {"high": "today", "normal": "this week", "low": "some day"}

SENTENCES = (
    "A category is a kind of thing, and a priority says what comes first.",
    "A summary is short, and a team works together.",
    "The team of repairs mends what is broken, hardware most of all.",
    "Systems care for software, and logistics for delivery.",
    "Accounts look after billing, and identity is who you are.",
    "What has high priority is done before what is normal, and what is low comes last.",
    "No power means that nothing moves; overheating means that it is too warm.",
    "No connection, a failed update and an app crash are bad news for software.",
    "A double charge, a missing refund or a wrong invoice make an account hard to close.",
    "A late parcel, a wrong item or a damaged item make people write letters.",
    "A forgotten password, a locked account and a new email are soon set right.",
    "A loud noise is heard by everybody.",
)


def load_desk() -> object:
    """scripts/make-support-desk.py as a module: its phrases and how a ticket is put together."""
    path = Path(__file__).with_name("make-support-desk.py")
    spec = importlib.util.spec_from_file_location("support_desk", path)
    module = importlib.util.module_from_spec(spec)
    importlib.sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Texts:
    """Draws (prompt, answer) pairs.

    A text to copy follows a label and a space: after a line feed the same word consists of other
    pieces of the vocabulary.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.desk = load_desk()
        self.tasks: tuple[tuple[Callable[[], tuple[str, str]], int], ...] = (
            (self.repeat, 4),
            (self.form, 3),
            (self.look_up, 3),
            (self.listing, 1),
            (self.which_product, 8),
            (self.who_signed, 1),
            (self.other_words, 3),
            (self.same_thing, 2),
            (self.topic, 2),
            (self.how_soon, 3),
            (self.related, 3),
            (self.goes_on, 1),
        )

    def draw(self) -> tuple[str, str]:
        functions, weights = zip(*self.tasks, strict=True)
        instruction, answer = self.rng.choices(functions, weights)[0]()
        # Sometimes leave out the preamble: it teaches nothing and takes time.
        preamble = PREAMBLE if self.rng.random() < 0.4 else ""
        return preamble + PROMPT.format(instruction), answer

    def word(self) -> str:
        if self.rng.random() < 0.4:
            return "".join(self.rng.choices(SYLLABLES, k=self.rng.randint(2, 3)))
        return self.rng.choice(WORDS)

    def words(self, low: int, high: int) -> list[str]:
        return [self.word() for _ in range(self.rng.randint(low, high))]

    def product(self) -> str:
        first = self.rng.choice(FIRST) if self.rng.random() < 0.3 else self.word().capitalize()
        return f"{first} {self.rng.choice(NOUNS)}"

    def ticket(self) -> tuple[str, str, object, str]:
        """A ticket with its product, problem and urgency."""
        rng, product = self.rng, self.product()
        problem = rng.choice(self.desk.PROBLEMS)
        urgency = rng.choice(tuple(self.desk.URGENCY))
        sentence = rng.choice(self.desk.URGENCY[urgency])
        text = self.desk.ticket(rng, product, rng.choice(problem.phrases), sentence)
        return text, product, problem, urgency

    def repeat(self) -> tuple[str, str]:
        text = " ".join(self.words(3, 10))
        return f"{self.rng.choice(('Repeat', 'Copy', 'Write again'))}: {text}", f"Text: {text}"

    def form(self) -> tuple[str, str]:
        keys = self.rng.sample(KEYS, self.rng.randint(2, 4))
        pairs = [(k, " ".join(self.words(1, 2))) for k in keys]
        asked = ", ".join(f"{k.lower()} {v}" for k, v in self.rng.sample(pairs, len(pairs)))
        lines = "\n".join(f"{k}: {v}" for k, v in pairs)
        return f"Fill in {', '.join(keys)}.\n\n{asked}", lines

    def look_up(self) -> tuple[str, str]:
        keys = self.rng.sample(KEYS, self.rng.randint(3, 5))
        pairs = [(k, self.word()) for k in keys]
        key, value = self.rng.choice(pairs)
        lines = "\n".join(f"{k}: {v}" for k, v in pairs)
        return f"What is the {key.lower()}?\n\n{lines}", f"{key}: {value}"

    def listing(self) -> tuple[str, str]:
        words = self.words(3, 5)
        return f"Make a list.\n\n{', '.join(words)}", "\n".join(f"- {w}" for w in words)

    def which_product(self) -> tuple[str, str]:
        text, product, _, _ = self.ticket()
        ask = self.rng.choice(("Which product is it?", "Name the product in this message."))
        return f"{ask}\n\n{text}", f"Product: {product}"

    def who_signed(self) -> tuple[str, str]:
        text = self.ticket()[0]
        last = text.split()[-1].capitalize()
        return f"Who signed this?\n\n{text}", last if last in self.desk.NAMES else "nobody"

    def other_words(self) -> tuple[str, str]:
        problem = self.rng.choice(self.desk.PROBLEMS)
        product = f"{self.rng.choice(('my', 'our', 'the'))} {self.product()}"
        one, two = (
            phrase.format(P=product[0].upper() + product[1:], p=product)
            for phrase in self.rng.sample(problem.phrases, 2)
        )
        return f"Say it in other words.\n\n{one}", two

    def same_thing(self) -> tuple[str, str]:
        one = self.rng.choice(self.desk.PROBLEMS)
        two = one if self.rng.random() < 0.5 else self.rng.choice(self.desk.PROBLEMS)
        a, b = (
            self.rng.choice(p.phrases).format(P=f"The {n}", p=f"the {n}")
            for p, n in ((one, self.product()), (two, self.product()))
        )
        return f"Is it the same trouble?\n\n{a}\n{b}", "yes" if one is two else "no"

    def topic(self) -> tuple[str, str]:
        text, _, problem, _ = self.ticket()
        return f"What is this about, in one word?\n\n{text}", TOPICS[problem.category]

    def how_soon(self) -> tuple[str, str]:
        text, _, _, urgency = self.ticket()
        return f"How soon?\n\n{text}", SOON[urgency]

    def related(self) -> tuple[str, str]:
        words = self.rng.choice(RELATED).split()
        chosen = self.rng.sample(words, min(len(words), 5))
        return f"Which words go with {chosen[0]}?", ", ".join(chosen[1:])

    def goes_on(self) -> tuple[str, str]:
        words = self.rng.choice(SENTENCES).split()
        cut = self.rng.randint(1, len(words) // 2)
        return f"Go on: {' '.join(words[:cut])}", " ".join(words[cut:])
