#!/usr/bin/env python3
"""lorac's templates and masks against transformers' chat templates and FastChat's conversations.

Called by scripts/interop. Each template renders the same conversations: the published Jinja
programs run in transformers' own environment, FastChat's rules in its own module, and the others
are written down here from their training scripts. The renderings are cut into texts and special
tokens, marked with what is learnt, and compared with

  tests/golden/templates.jsonl       the committed renderings, which the tests in C read
  build/tests/test_template_golden   lorac's ids and targets, against SentencePiece and tokenizers
                                     run over the same pieces

  scripts/interop-templates.py [--write]      --write: make tests/golden/templates.jsonl again
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import command_line

WRITE = command_line.write_flag(__doc__, "tests/golden/templates.jsonl")

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from checks import LORAC, Report, lorac
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers.utils.chat_template_utils import render_jinja_template

Message = dict[str, str]
Piece = list  # [text or name, kind]: "text", "learnt", "special", "learnt special"

GOLDEN = Path("tests/golden/templates.jsonl")
CHAT_GOLDEN = Path("tests/golden/chat_templates.jsonl")
FASTCHAT = "fschat==0.2.36"

# While rendering, special tokens are characters of a private plane, so that text that spells one
# stays text.
BOS, EOS = "\ue000", "\ue001"
NAMED = {
    "<|im_start|>": "\ue002",
    "<|im_end|>": "\ue003",
    "<|start_header_id|>": "\ue004",
    "<|end_header_id|>": "\ue005",
    "<|eot_id|>": "\ue006",
    "<|prompter|>": "\ue007",
    "<|assistant|>": "\ue008",
    "<|system|>": "\ue009",
    "<|begin_of_text|>": "\ue00a",
    "[INST]": "\ue00b",
    "[/INST]": "\ue00c",
}
MARKS = {BOS: "bos", EOS: "eos"} | {mark: name for name, mark in NAMED.items()}

# ---- published chat templates --------------------------------------------------------------------

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLLM2 = CHATML.replace(
    "{% for message in messages %}",
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}",
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = "
    "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim "
    "+ '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n"
    "{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
    "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
    "{% endfor %}"
)
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, conversation roles must alternate \
user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of an \
initial optional system message!") }}
    {%- endif %}
{%- endfor %}
"""
MISTRAL_COMPACT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ message['content'] + eos_token}}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)

# Mistral 7B v0.1's first one, and what v0.3's does for conversations without tools
MISTRAL_V01 = MISTRAL_COMPACT.replace("eos_token}}", "eos_token + ' ' }}")
MISTRAL_V3 = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and \
message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] " + (tools | tojson) + "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] + eos_token}}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
"""
# Llama 3.1's and 3.2's for conversations without tools; transformers is given the fixed date
DATE = "26 Jul 2024"
LLAMA31 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ \
message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {{- raise_exception("not here") }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user \
query.\\n\\nYou are provided with function signatures within <tools></tools> XML \
tags:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n\\nFor each function call, return a json object with function name and \
arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": <function-name>, \
\\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful \
assistant.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or \
(message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- message.content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

PUBLISHED = {
    "chatml": CHATML,
    "smollm2": SMOLLM2,
    "llama2": LLAMA2,
    "llama3": LLAMA3,
    "zephyr": ZEPHYR,
    "mistral": MISTRAL,
    "mistral_compact": MISTRAL_COMPACT,
    "mistral_v0.1": MISTRAL_V01,
    "mistral_v3": MISTRAL_V3,
    "llama3.1": LLAMA31,
    "qwen2.5": QWEN25,
}

# ---- other spellings, and models' own variants ---------------------------------------------------

CHATML_LOOP = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + "
    "'<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}"
)
SPELLINGS = {
    "chatml, attributes by dots": CHATML_LOOP,
    "chatml, bos in front": "{{ bos_token }}" + CHATML_LOOP,
    "chatml, bos by its text": "<s>" + CHATML_LOOP,
    "chatml, text between tags": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ).replace("\n\n{% endfor", "\n{% endfor"),
    "chatml, trimmed": CHATML_LOOP.replace("message.content", "message.content | trim"),
    "chatml, stripped": CHATML_LOOP.replace("message.content", "message['content'].strip()"),
    "chatml, generation tags": (
        "{%- for message in messages -%}{%- if message.role == 'assistant' -%}"
        "{{- '<|im_start|>assistant\n' -}}{%- generation -%}{{- message.content + '<|im_end|>' -}}"
        "{%- endgeneration -%}{{- '\n' -}}{%- else -%}"
        "{{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' -}}"
        "{%- endif -%}{%- endfor -%}{%- if add_generation_prompt -%}"
        "{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
    ),
    "chatml, roles one by one": (
        "{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{'<|im_start|>user\n' + message['content'] + '<|im_end|>\n'}}"
        "{% elif message['role'] == 'assistant' %}"
        "{{'<|im_start|>assistant\n' + message['content'] + '<|im_end|>\n' }}"
        "{% else %}{{ '<|im_start|>system\n' + message['content'] + '<|im_end|>\n' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "chatml, another system text": (
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful "
        "assistant.<|im_end|>\n' }}{% endif %}" + CHATML_LOOP
    ),
    "qwen2.5, as Qwen2 has it": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "llama3.1, another date": LLAMA31.replace("26 Jul 2024", "1 May 2025")
    .replace("strftime_now is defined", "false")
    .replace('strftime_now("%d %b %Y")', "1"),
    "llama2, another system text": LLAMA2.replace(
        "{% set system_message = false %}", "{% set system_message = 'Be kind.' %}"
    ),
    "zephyr, as TinyLlama has it": ZEPHYR.replace(
        "{% for message in messages %}\n", ("{% for message in messages %}")
    ),
}

Render = Callable[[list[Message], bool], str]


def jinja(program: str) -> Render:
    texts = list(NAMED) if program is ZEPHYR else []
    texts += [] if program is MISTRAL_V3 else ["[INST]", "[/INST]"]
    for name, mark in NAMED.items():
        if name not in texts:
            program = program.replace(name, mark)

    def render(messages: list[Message], prompt: bool) -> str:
        texts, _ = render_jinja_template(
            conversations=[messages],
            chat_template=program,
            add_generation_prompt=prompt,
            bos_token=BOS,
            eos_token=EOS,
            date_string=DATE,
        )
        return texts[0]

    return render


# ---- FastChat ------------------------------------------------------------------------------------


def fastchat_module(folder: str) -> ModuleType | None:
    """fastchat.conversation, which needs nothing of the package's own long list."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder]
    done = subprocess.run([*command, FASTCHAT], capture_output=True, check=False)
    path = Path(folder) / "fastchat" / "conversation.py"
    if done.returncode or not path.exists():
        return None
    spec = importlib.util.spec_from_file_location("fastchat_conversation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def fastchat(module: ModuleType, name: str, v0: bool = False) -> Render:
    """v0 had no EOS: here each answer ends with one, and the last separator is left out."""

    def render(messages: list[Message], prompt: bool) -> str:
        c = module.get_conv_template(name)
        c.messages = []
        c.roles = tuple(NAMED.get(role, role) for role in c.roles)
        c.sep2 = EOS if c.sep2 else c.sep2
        c.sep = EOS if c.sep == "</s>" else c.sep
        for m in messages:
            if m["role"] == "system":
                c.set_system_message(m["content"])
            else:
                answer = m["role"] == "assistant"
                text = m["content"] + (EOS if v0 and answer else "")
                c.append_message(c.roles[answer], text)
        if prompt:
            c.append_message(c.roles[1], None)
        text = c.get_prompt()
        return text.removesuffix("### ") if v0 else text

    return render


# ---- training scripts ----------------------------------------------------------------------------

PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n"
)


def alpaca(header: str) -> Render:
    """Stanford's, alpaca-lora's and qlora's prompt without an input; one exchange."""

    def render(messages: list[Message], prompt: bool) -> str:
        system = PREAMBLE
        if messages[0]["role"] == "system":
            system, messages = messages[0]["content"] + "\n\n", messages[1:]
        text = f"{system}### Instruction:\n{messages[0]['content']}\n\n{header}"
        return text + (messages[1]["content"] + EOS if len(messages) > 1 else "")

    return render


def wizardlm(messages: list[Message], prompt: bool) -> str:
    text = messages[0]["content"] + "\n\n### Response:"
    return text + (messages[1]["content"] + EOS if len(messages) > 1 else "")


def plain(messages: list[Message], prompt: bool) -> str:
    ends = {"assistant": EOS}
    return "".join(m["content"] + ends.get(m["role"], "") for m in messages)


@dataclass
class Subject:
    name: str
    source: str
    render: Render
    single: bool = False  # one exchange only
    system: bool = True
    strips: bool = False


def subjects(module: ModuleType | None) -> list[Subject]:
    out = [
        Subject("chatml", "transformers", jinja(CHATML)),
        Subject("smollm2", "transformers", jinja(SMOLLM2)),
        Subject("llama2", "transformers", jinja(LLAMA2), strips=True),
        Subject("llama3", "transformers", jinja(LLAMA3), strips=True),
        Subject("zephyr", "transformers", jinja(ZEPHYR)),
        Subject("mistral", "transformers", jinja(MISTRAL)),
        Subject("mistral_compact", "transformers", jinja(MISTRAL_COMPACT), system=False),
        Subject("mistral_v0.1", "transformers", jinja(MISTRAL_V01), system=False),
        Subject("mistral_v3", "transformers", jinja(MISTRAL_V3), system=False),
        Subject("llama3.1", "transformers", jinja(LLAMA31), strips=True),
        Subject("qwen2.5", "transformers", jinja(QWEN25)),
        Subject("alpaca", "alpaca-lora", alpaca("### Response:\n"), single=True),
        Subject("alpaca_lora", "alpaca-lora", alpaca("### Response:\n"), single=True),
        Subject("alpaca_stanford", "stanford_alpaca", alpaca("### Response:"), single=True),
        Subject("alpaca_qlora", "qlora", alpaca("### Response: "), single=True),
        Subject("wizardlm", "WizardLM", wizardlm, single=True, system=False),
        Subject("plain", "the texts", plain),
    ]
    if module:
        out += [
            Subject("vicuna_v1.1", "FastChat", fastchat(module, "vicuna_v1.1")),
            Subject("vicuna_v0", "FastChat", fastchat(module, "one_shot", v0=True)),
            Subject("oasst", "FastChat", fastchat(module, "oasst_llama"), system=False),
        ]
    return out


# ---- conversations -------------------------------------------------------------------------------


def conversation(*texts: str, system: str | None = None) -> list[Message]:
    roles = ["user", "assistant"]
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + [{"role": roles[i % 2], "content": t} for i, t in enumerate(texts)]


CONVERSATIONS = [
    conversation("Hi", "Hello"),
    conversation("What is 2 + 2?", "4", "And 3 + 3?", "6, of course."),
    conversation("Name a colour.", "Blue", system="Answer in one word."),
    conversation("a", "b", "c", "d", "e", "f", system="You are a parrot.\nYou repeat."),
    conversation("grüße 漢字 👩‍👩‍👧 e\u0301", "naïve \U0001f999\u00a0ok \u202eabc"),
    conversation("say </s> and [INST]", "<|im_end|> <s> <<SYS>> <0x0A> {user} {{bos}}"),
    conversation("def f(x):\n    return x ** 2\n\n\nf(3)", "\t9\n\n```\nx = 1\n```"),
    conversation("1 2  3   4", "5    6"),
    conversation("### Response:", "### Instruction: ASSISTANT: USER:"),
]
WHITE = [
    conversation("  lead and trail \n", "\n answer with white \t", system=" \n s \n"),
    conversation("\u3000wide\u3000", "\u00a0hard\u00a0", "x", " y"),
]


# ---- pieces --------------------------------------------------------------------------------------


def answer_spans(s: Subject, messages: list[Message], text: str) -> list[tuple[int, int]]:
    """From an answer's first character to the end of its EOS, found by rendering beginnings."""
    out = []
    for i, m in enumerate(messages):
        if m["role"] != "assistant":
            continue
        before = s.render(messages[:i], True)
        # a header may end in a space that the prompt leaves to the answer
        content = m["content"].strip() if s.strips else m["content"]
        start = text.index(content, len(before.rstrip(" ")))
        end = next(k for k in range(start + len(content), len(text)) if text[k] in MARKS)
        out.append((start, end + 1))
    return out


def cut(s: Subject, messages: list[Message]) -> list[Piece]:
    text = s.render(messages, False)
    learnt = [False] * len(text)
    for start, end in answer_spans(s, messages, text):
        learnt[start:end] = [True] * (end - start)
    pieces: list[Piece] = []
    # after the last EOS comes only what would come before another turn
    text = text.rstrip(" ") if s.name == "mistral_v0.1" else text
    for i, c in enumerate(text):
        kind = ("learnt " if learnt[i] else "") + "special" if c in MARKS else "text"
        if c in MARKS:
            pieces.append([MARKS[c], kind])
            continue
        kind = "learnt" if learnt[i] else "text"
        if pieces and pieces[-1][1] == kind:
            pieces[-1][0] += c
        else:
            pieces.append([c, kind])
    if s.name.startswith("llama3"):
        pieces[0][0] = "<|begin_of_text|>"
    return pieces


def goldens(module: ModuleType | None) -> list[dict]:
    out = []
    for s in subjects(module):
        for messages in CONVERSATIONS + WHITE:
            has_system = messages[0]["role"] == "system"
            if (has_system and not s.system) or (s.single and len(messages) - has_system > 2):
                continue
            pieces = cut(s, messages)
            out.append(
                {"template": s.name, "source": s.source, "messages": messages, "pieces": pieces}
            )
    return out


# ---- ids -----------------------------------------------------------------------------------------


class SentencePieces:
    """Each run on its own, as Meta's code encodes each exchange; special tokens by id."""

    def __init__(self, model: Path, folder: Path) -> None:
        import sentencepiece

        self.sp = sentencepiece.SentencePieceProcessor(model_file=str(model))
        self.path = folder / "spm"
        self.path.mkdir()
        (self.path / "tokenizer.model").write_bytes(model.read_bytes())
        ids = {n: self.sp.vocab_size() + i for i, n in enumerate(NAMED)}
        (self.path / "added_tokens.json").write_text(json.dumps(ids))
        decoder = {
            str(i): {"content": n, "special": True, "normalized": False} for n, i in ids.items()
        }
        config = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}
        config["added_tokens_decoder"] = decoder
        (self.path / "tokenizer_config.json").write_text(json.dumps(config))
        self.special = ids | {"bos": self.sp.bos_id(), "eos": self.sp.eos_id()}
        self.adds_bos = self.spaces = True

    def run(self, text: str) -> list[tuple[int, int, int]]:
        """Pieces lie end to end over the text with a space in front; a byte piece is one byte."""
        char_of = [i for i, c in enumerate(text) for _ in c.encode()]
        out = []
        at = -1
        for token in self.sp.encode(text):
            piece = self.sp.id_to_piece(token).replace("\u2581", " ")
            end = at + (1 if self.sp.is_byte(token) else len(piece.encode()))
            start = max(at, 0)
            covered = char_of[start:end]
            out.append((token, covered[0], covered[-1] + 1) if covered else (token, 0, 0))
            at = end
        assert at == len(char_of), (text, at)
        return out


class ByteLevel:
    """GPT-2's way with a vocabulary made here, in tokenizers."""

    def __init__(self, folder: Path, named: bool = True) -> None:
        self.path = folder / ("bytes" if named else "bytes-only")
        self.path.mkdir()
        from tokenizers.trainers import BpeTrainer

        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        names = ["<s>", "</s>", *(NAMED if named else [])]
        trainer = BpeTrainer(
            vocab_size=600,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[AddedToken(n, normalized=False, special=True) for n in names],
        )
        texts = [m["content"] for c in CONVERSATIONS + WHITE for m in c] + [PREAMBLE]
        backend.train_from_iterator(texts * 3, trainer)
        backend.save(str(self.path / "tokenizer.json"))
        config = {"add_bos_token": False, "bos_token": "<s>", "eos_token": "</s>"}
        (self.path / "tokenizer_config.json").write_text(json.dumps(config))
        self.special = {n: backend.token_to_id(n) for n in names}
        self.special |= {"bos": self.special["<s>"], "eos": self.special["</s>"]}
        self.adds_bos = self.spaces = False
        backend.encode_special_tokens = True
        self.backend = backend

    def run(self, text: str) -> list[tuple[int, int, int]]:
        e = self.backend.encode(text, add_special_tokens=False)
        return [(i, a, b) for i, (a, b) in zip(e.ids, e.offsets, strict=True)]


def reference(tokenizer: SentencePieces | ByteLevel, golden: dict) -> tuple[list[int], list[int]]:
    """Ids and 0/1 targets: a token that covers a learnt character, or is a learnt special one."""
    pieces = [list(p) for p in golden["pieces"]]
    if tokenizer.spaces and golden["template"] in ("mistral", "mistral_v3"):
        # the program spells the space that SentencePiece puts in front of a run
        for before, p in zip(pieces, pieces[1:], strict=False):
            if before[1].endswith("special") and p[1] == "text" and p[0].startswith(" "):
                p[0] = p[0][1:]
    if tokenizer.adds_bos and pieces[0][0] not in ("bos", "<|begin_of_text|>"):
        pieces.insert(0, ["bos", "special"])
    ids: list[int] = []
    targets: list[int] = []
    text, learnt = "", []

    def flush() -> None:
        nonlocal text, learnt
        for token, start, end in tokenizer.run(text) if text else []:
            ids.append(token)
            targets.append(int(any(learnt[start:end])))
        text, learnt = "", []

    for piece, kind in pieces:
        if kind.endswith("special"):
            flush()
            ids.append(tokenizer.special[piece])
            targets.append(int(kind.startswith("learnt")))
        else:
            text += piece
            learnt += [kind == "learnt"] * len(piece)
    flush()
    targets[0] = 0
    return ids, targets


def lorac_ids(path: Path, template: str, goldens: list[dict]) -> list[dict]:
    program = Path(LORAC).parent / "tests" / "test_template_golden"
    lines = "".join(json.dumps({"messages": g["messages"]}) + "\n" for g in goldens)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write(lines)
        f.flush()
        command = [str(program), str(path), template, f.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stdout.strip() + done.stderr.strip())
    return [json.loads(line) for line in done.stdout.splitlines()]


class Chat:
    """transformers with a program of one's own, on the byte-level tokenizer."""

    def __init__(self, tokenizer: ByteLevel) -> None:
        from transformers import PreTrainedTokenizerFast

        self.fast = PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer.path / "tokenizer.json"),
            bos_token="<s>",
            eos_token="</s>",
        )

    def text(self, program: str, messages: list[Message]) -> str:
        return self.fast.apply_chat_template(
            messages,
            chat_template=program,
            tokenize=False,
            add_generation_prompt=messages[-1]["role"] == "user",
            **({"date_string": DATE} if "strftime_now(" in program else {}),
        )

    def ids(self, text: str) -> list[int]:
        return self.fast(text, add_special_tokens=False)["input_ids"]


TALKS = [
    conversation("Hi"),
    conversation("Hi", "Hello"),
    conversation("Name a colour.", "Blue", system="Answer in one word."),
    conversation("Name a colour.", system=" Answer in one word.\n"),
    conversation("a", "b", "c", "d", "e", system="You are a parrot.\nYou repeat."),
    conversation("  lead and trail \n", "\n answer with white \t", "x", " y"),
    conversation("  lead and trail \n", "\n answer with white \t", " z\n"),
    conversation("grüße 漢字 {user} 'quoted' \\n", 'a "b"', "{{ bos_token }}"),
    conversation("", "", ""),
]


def printed(command: list[object]) -> str:
    program = Path(LORAC).parent / "tests" / "test_chat_template"
    done = subprocess.run([str(program), *map(str, command)], capture_output=True, check=False)
    if done.returncode:
        raise ValueError(done.stdout.decode().strip() + done.stderr.decode().strip())
    return done.stdout.decode()


def lorac_texts(path: Path, template: str, talks: list[list[Message]]) -> list[dict]:
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write("".join(json.dumps({"messages": t}) + "\n" for t in talks))
        f.flush()
        return [json.loads(x) for x in printed(["text", path, template, f.name]).splitlines()]


def renderable(chat: Chat, program: str) -> list[list[Message]]:
    """The conversations that a program does not refuse. v0.3's leaves the system text out of one
    that ends in an answer; lorac has it where mistral-common does, in the last user turn."""
    out = []
    for talk in TALKS:
        ends = (talk[0]["role"], talk[-1]["role"])
        if program is MISTRAL_V3 and ends == ("system", "assistant"):
            continue
        with contextlib.suppress(Exception):
            chat.text(program, talk)
            out.append(talk)
    return out


def check_chat(report: Report, tokenizer: ByteLevel) -> None:
    """template: model renders what transformers renders by the model's program."""
    chat = Chat(tokenizer)
    path = tokenizer.path / "tokenizer_config.json"
    config = json.loads(path.read_text())
    for name, program in (PUBLISHED | SPELLINGS).items():
        talks = renderable(chat, program)
        path.write_text(json.dumps(config | {"chat_template": program}))
        with report.check(f"{name}: {len(talks)} conversations as transformers has them"):
            for talk, got in zip(talks, lorac_texts(tokenizer.path, "model", talks), strict=True):
                want = chat.text(program, talk).rstrip(" \n")
                ids = chat.ids(want)
                same_ids = got["ids"][: len(ids) - 1] == ids[:-1]
                if got["text"].rstrip(" \n") != want or not same_ids:
                    raise AssertionError(f"{got['text']!r}, wanted {want!r}")
    path.write_text(json.dumps(config))


OWN = {
    "a section": {
        "system": "Note: {system}\n",
        "user": "Q's \\ {user}\n",
        "assistant": "A: {answer}{eos}\n",
        "between": "--\n",
    },
    "a section that strips": {
        "like": "llama3.1",
        "date": "1 May 2025",
        "default_system": " Be kind. ",
    },
    "a section that folds": {"like": "mistral_v3", "default_system": "Be kind.", "strip": True},
}


def check_written(report: Report, tokenizer: ByteLevel, names: list[str]) -> None:
    """What merge writes as Jinja, applied by transformers, against lorac's own rendering."""
    chat = Chat(tokenizer)
    for name in [*names, *OWN]:
        template = json.dumps(OWN[name]) if name in OWN else name
        try:
            program = printed(["jinja", tokenizer.path, template])
        except ValueError as why:
            # its letters are this tokenizer's special tokens, or its tokens are not there
            if "spells a special token" not in str(why) and "places the special" not in str(why):
                raise
            continue
        with report.check(f"{name} written as Jinja for {tokenizer.path.name}"):
            for talk in TALKS:
                try:
                    text = chat.text(program, talk)
                except Exception as why:
                    if "place for a system" not in str(why):
                        raise
                    continue
                got = lorac_texts(tokenizer.path, template, [talk])[0]
                if text != got["text"] or chat.ids(text) != got["ids"]:
                    raise AssertionError(f"{text!r}, wanted {got['text']!r}")


def check_merged(report: Report, folder: Path) -> None:
    """A merged directory and GGUF as transformers and gguf read them: the adapter's template, and
    the token that ends its answers."""
    from transformers import AutoTokenizer

    base = folder / "base"
    subprocess.run(["tests/make-model", "tiny", str(base)], check=True)
    plain = json.loads((base / "tokenizer_config.json").read_text())
    for name in ("alpaca", "vicuna_v1.1", "chatml", "zephyr"):
        run = folder / f"run-{name}"
        settings = {
            "model": {"path": str(base)},
            "data": {"train": "datasets/sample-alpaca.jsonl", "template": name},
            "adapter": {"r": 2},
            "train": {"max_steps": 1, "batch_size": 2},
            "output": {"dir": str(run)},
        }
        (folder / "run.yaml").write_text(json.dumps(settings))
        lorac("train", folder / "run.yaml")
        for where in ("none", "config", "file"):
            out = folder / f"merged-{where}-{name}"
            own = {"chat_template": "{{ messages }}"} if where == "config" else {}
            (base / "tokenizer_config.json").write_text(json.dumps(plain | own))
            (base / "chat_template.jinja").unlink(missing_ok=True)
            if where == "file":
                (base / "chat_template.jinja").write_text("{{ messages }}")
            merge = ["merge", "--model", base, "--adapter", run / "adapter", "-o"]
            lorac(*merge, out)
            lorac(*merge, f"{out}.gguf")
            with report.check(f"{name} merged, the base's template in {where}"):
                check_served(report, out, base, name, AutoTokenizer.from_pretrained(out))


def gguf_template(path: str) -> str | None:
    """None: the module is not there."""
    try:
        import gguf
    except ImportError:
        return None
    field = gguf.GGUFReader(path).fields["tokenizer.chat_template"]
    return bytes(field.parts[field.data[0]]).decode()


def check_served(report: Report, out: Path, base: Path, name: str, fast: object) -> None:
    program = gguf_template(f"{out}.gguf")
    for talk, got in zip(TALKS, lorac_texts(base, name, TALKS), strict=True):
        prompt = talk[-1]["role"] == "user"
        texts = [
            fast.apply_chat_template(
                talk, tokenize=False, add_generation_prompt=prompt, chat_template=jinja
            )
            for jinja in (None, program)
        ]
        for text in texts:
            if fast(text, add_special_tokens=False)["input_ids"] != got["ids"]:
                raise AssertionError(f"{text!r}, wanted {got['text']!r}")
    if name == "chatml":
        stops = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
        report.equal("stops", fast.convert_ids_to_tokens(stops)[-1], "<|im_end|>")


def chat_goldens(tokenizer: ByteLevel) -> list[dict]:
    chat = Chat(tokenizer)
    out = []
    for name, program in (PUBLISHED | SPELLINGS).items():
        rendered = [
            {"messages": talk, "text": chat.text(program, talk)}
            for talk in renderable(chat, program)
        ]
        out.append({"name": name, "program": program, "rendered": rendered})
    return out


def check_ids(report: Report, label: str, tokenizer: object, all_goldens: list[dict]) -> None:
    for template in dict.fromkeys(g["template"] for g in all_goldens):
        mine = [g for g in all_goldens if g["template"] == template]
        with report.check(f"{template}, {label}: ids and targets of {len(mine)} conversations"):
            for g, got in zip(mine, lorac_ids(tokenizer.path, template, mine), strict=True):
                ids, targets = reference(tokenizer, g)
                if got["ids"] != ids or got["targets"] != targets:
                    raise AssertionError(
                        f"{g['messages']}: {got['ids']} {got['targets']}, wanted {ids} {targets}"
                    )


def main() -> None:
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        module = fastchat_module(folder)
        made = goldens(module)
        if WRITE:
            if not module:
                raise SystemExit(f"{FASTCHAT} could not be installed")
            lines = [json.dumps(g, ensure_ascii=True) for g in made]
            GOLDEN.write_text("\n".join(lines) + "\n")
            lines = [
                json.dumps(g, ensure_ascii=True) for g in chat_goldens(ByteLevel(Path(folder)))
            ]
            CHAT_GOLDEN.write_text("\n".join(lines) + "\n")
            return
        committed = [json.loads(line) for line in GOLDEN.read_text().splitlines()]
        for source in dict.fromkeys(g["source"] for g in committed):
            want = [g for g in committed if g["source"] == source]
            got = [g for g in made if g["source"] == source]
            if source == "FastChat" and not module:
                report.skip("FastChat", f"{FASTCHAT} could not be installed")
                continue
            with report.check(f"golden renderings: {source}"):
                report.equal(f"{len(want)} conversations", got, want)
        program = Path(LORAC).parent / "tests" / "test_template_golden"
        if not program.exists():
            report.skip("ids", f"{program} is not there (make tests-build)")
            report.finish()
        made_here = ByteLevel(Path(folder))
        check_ids(report, "tokenizers", made_here, committed)
        check_chat(report, made_here)
        names = list(dict.fromkeys(g["template"] for g in committed))
        check_written(report, made_here, names)
        check_written(report, ByteLevel(Path(folder), named=False), names)
        check_merged(report, Path(folder))
        data = Path(os.environ.get("LORAC_TEST_DATA") or "../shared/data")
        model = data / "llama2-tokenizer" / "tokenizer.model"
        if model.exists():
            check_ids(report, "SentencePiece", SentencePieces(model, Path(folder)), committed)
        else:
            report.skip("SentencePiece", f"{model} is not there")
    report.finish()


if __name__ == "__main__":
    main()
