"""Reads samples (saccade tasks show TASK --json) on stdin and solves each from its text alone.

The grammar of the compact prompts is written down here a second time, as regular expressions over the word lists in
engine/tasks/data_*.c; a sample must match it to the last character, and the answer found must be the gold answer. The
evidence must be what the answer was read from."""
import json
import os
import re
import sys

SOURCE = os.path.join(os.environ.get("SOURCE_DIR", "."), "engine", "tasks")


def lists(name):
    text = open(os.path.join(SOURCE, name), encoding="utf-8").read()
    found = {}
    for key, body in re.findall(r"static const char \*const (\w+)\[\] = \{(.*?)\};", text, re.S):
        found[key] = re.findall(r'"([^"]*)"', body)
    return found


NEEDLE, STORY, WORDS = lists("data_needle.c"), lists("data_story.c"), lists("data_words.c")["words"]


def alt(words):
    return "(?:" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + ")"


KEY = f"{alt(NEEDLE['adjectives'])}-{alt(NEEDLE['nouns'])}-[1-9][0-9]"
ITEM = f"{alt(STORY['item_adjectives'])} {alt(STORY['item_materials'])} {alt(STORY['item_kinds'])}"


def numbered(items):
    return "\n".join(f"{i + 1}. {x}" for i, x in enumerate(items))


def split(prompt):
    context, question = prompt.rsplit("\n\n", 1)
    return context, question


def niah(context, question):
    sentence = re.compile(rf"The value for key ({KEY}) is ([1-9][0-9]{{5}})\.")
    found = sentence.findall(context)
    assert " ".join(f"The value for key {k} is {v}." for k, v in found) == context, "context"
    value = dict(found)
    assert len(value) == len(found), "a key twice"
    one = re.fullmatch(rf"What is the value for key ({KEY})\?", question)
    many = re.fullmatch(rf"What are the values for the keys ((?:{KEY}, )+{KEY})\?", question)
    keys = [one[1]] if one else many[1].split(", ")
    assert len(set(keys)) == len(keys)
    return numbered(f"{k}: {value[k]}" for k in keys), [f"{k} is {value[k]}" for k in keys]


def vt(context, question):
    word, noise = alt(WORDS), alt(NEEDLE["noise"])
    sentence = re.compile(rf"VAR ({word}) = (?:([1-9][0-9]{{4}})|VAR ({word}))\.|({noise})")
    parts, at = [], 0
    while at < len(context):
        m = sentence.match(context, at)
        assert m and (m.end() == len(context) or context[m.end()] == " "), context[at:at + 60]
        parts.append(m)
        at = m.end() + 1
    value = {m[1]: m[2] for m in parts if m[2]}
    source = {m[3]: m[1] for m in parts if m[3]}
    assert len(value) + len(source) == sum(1 for m in parts if m[1]), "a name assigned twice, or copied twice"
    want = re.fullmatch(r"Which variables resolve to ([0-9]{5})\?", question)[1]
    chain = [n for n, v in value.items() if v == want]
    assert len(chain) == 1
    while chain[-1] in source:
        chain.append(source[chain[-1]])
    said = [f"VAR {chain[0]} = {want}."] + [f"VAR {b} = VAR {a}." for a, b in zip(chain, chain[1:])]
    return " ".join(f"VAR {x}" for x in chain), said


def cwe(context, question):
    lines = context.split("\n")
    words = []
    for i, line in enumerate(lines):
        m = re.fullmatch(r"([0-9]+)\. ([a-z]+)", line)
        assert m and int(m[1]) == i + 1 and m[2] in WORDSET, line
        words.append(m[2])
    count = {w: words.count(w) for w in set(words)}
    n = int(re.fullmatch(r"Which ([0-9]+) words appear most often in the list\?", question)[1])
    top = sorted(count, key=lambda w: -count[w])[:n]
    rest = [c for w, c in count.items() if w not in top]
    assert len({count[w] for w in top}) == 1 and len(set(rest)) == 1 and rest[0] * 3 < count[top[0]], "counts"
    assert 4 <= count[top[0]] <= 30 or rest[0] > 3
    top.sort(key=words.index)
    return numbered(top), None


def template(text, hero, **names):
    out = re.escape(text)
    for key, pattern in dict(names, protagonist=re.escape(hero)).items():
        out = out.replace(re.escape("{" + key + "}"), pattern)
    return out


def chapters(context):
    hero = next(h for h in STORY["protagonists"] if re.search(rf"\b{h}\b", context))
    person, place = alt(STORY["characters"]), alt(STORY["places"])

    def step(name, **names):
        return "(?:" + "|".join(template(t, hero, **names) for t in STORY[name]) + ")"
    first = re.compile(rf"(?P<arrival>{step('arrival', place=place)}){step('reason')}"
                       rf"{step('event', event=alt(STORY['events']))}(?P<meeting>{step('meeting', character=person)})"
                       rf"(?P<talk>(?:{alt(STORY['talk'])}){{3}})(?P<buy>{step('buy', character=person, item=ITEM)})?"
                       rf"(?P<sell>{step('sell', character=person, item=ITEM)})?{step('farewell', character=person)}"
                       rf"{step('close')}{alt([a.rstrip() for a in STORY['aside']])}")
    found, owned, bought = [], set(), set()
    for i, text in enumerate(context.split("\n\n")):
        head, _, body = text.partition("\n")
        assert head == f"Chapter {i + 1}:", head
        m = first.fullmatch(body)
        assert m, body
        talk = re.findall(alt(STORY["talk"]), m["talk"])
        assert len(set(talk)) == 3, "the same talk twice"
        met = set(re.findall(person, body))
        assert len(met) == 1, met
        item = re.search(ITEM, m["buy"])[0] if m["buy"] else None
        if m["sell"]:
            sold = re.search(ITEM, m["sell"])[0]
            assert i > 0 and sold not in bought - owned and sold != item, "sold what was not there"
            owned.discard(sold)
        assert item is None or item not in bought, "bought twice"
        if item:
            owned.add(item)
            bought.add(item)
        found.append({"place": re.search(place, m["arrival"])[0], "who": met.pop(), "item": item})
    pairs = [(c["place"], c["who"]) for c in found]
    assert len(set(pairs)) == len(pairs), "the same meeting twice"
    return hero, found


def story_retrieval(context, question):
    hero, found = chapters(context)
    asked = question.split("\n")
    answers, said = [], []
    for i, q in enumerate(asked):
        m = re.fullmatch(r"(?:([0-9]+)\. )?In Chapter ([0-9]+), which (location|character|item) did (\w+) "
                         r"(visit|meet|acquire)\?", q)
        assert m and m[4] == hero and (m[1] is None if len(asked) == 1 else int(m[1]) == i + 1), q
        assert {"location": "visit", "character": "meet", "item": "acquire"}[m[3]] == m[5]
        answers.append(found[int(m[2]) - 1][{"location": "place", "character": "who", "item": "item"}[m[3]]])
        said.append(f"Chapter {m[2]}|{answers[-1]}")
    return (answers[0] if len(answers) == 1 else numbered(answers)), said


def story_multihop(context, question):
    hero, found = chapters(context)
    m = re.fullmatch(rf"What was the last item that {hero} acquired before acquiring the ({ITEM})\?", question)
    at = next(i for i, c in enumerate(found) if c["item"] == m[1])
    assert at > 0
    return found[at - 1]["item"], [f"Chapter {at}|{found[at - 1]['item']}|Chapter {at + 1}|{m[1]}"]


def story_filtering(context, question):
    hero, found = chapters(context)
    without = [i + 1 for i, c in enumerate(found) if c["item"] is None]
    n = len(without)
    assert question == (f"In which chapters did {hero} not buy any item? There {'is' if n == 1 else 'are'} exactly {n} "
                        f"such chapter{'' if n == 1 else 's'}."), question
    return ", ".join(map(str, without)), [f"Chapter {i}" for i in without]


WORDSET = set(WORDS)
SOLVE = {f.__name__: f for f in (niah, vt, cwe, story_retrieval, story_multihop, story_filtering)}
seen = {}
for line in sys.stdin:
    s = json.loads(line)
    name = s["task"].split(":")[0]
    try:
        answer, said = SOLVE[name](*split(s["prompt"])) if name != "story_retrieval" else \
            SOLVE[name](*re.fullmatch(r"(.*?)\n\n((?:1\. )?In Chapter [0-9]+, which .*)", s["prompt"], re.S).groups())
        assert answer == s["gold"], f"gold is {s['gold']!r}, the text says {answer!r}"
        assert 0.9 * s["length"] <= s["tokens"] <= s["length"], f"{s['tokens']} tokens"
        text = s["prompt"].encode()
        for e in s["evidence"]:
            assert text[e["bytes"][0]:e["bytes"][1]].decode() == e["text"] and e["tokens"][0] < e["tokens"][1]
        if said:
            by_item = {}
            for e in s["evidence"]:
                by_item.setdefault(e["item"], []).append(e["text"])
            assert ["|".join(by_item[i]) for i in sorted(by_item)] == said, (by_item, said)
    except (AssertionError, TypeError, AttributeError, KeyError, StopIteration) as e:
        sys.exit(f"{s['task']} sample {s['sample']} seed {s['seed']}: {type(e).__name__} {e}")
    seen[name] = seen.get(name, 0) + 1
print(", ".join(f"{n} {k}" for k, n in seen.items()), "solved from their text")
