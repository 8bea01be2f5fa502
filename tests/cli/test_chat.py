"""`triptych chat`, through a pipe and in process; the terminal is in test_chat_terminal."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

import triptych as package
from triptych.cli.commands import COMMANDS, Commands, complete
from triptych.cli.session import SETTINGS, Session

SHORT = "--max-new-tokens=8"


@pytest.fixture(scope="module")
def pipeline(tiny_pipeline):
    return package.load(tiny_pipeline)


@pytest.fixture
def commands(pipeline):
    return Commands(Session(pipeline, settings={"max_new_tokens": 8}))


@pytest.fixture
def say(commands, capsys):
    """Takes a line; gives what came on stdout and on stderr."""

    def take(line):
        capsys.readouterr()
        assert commands.take(line)
        return capsys.readouterr()

    return take


def test_a_line_is_a_message_and_the_conversation_goes_on(triptych, tiny_pipeline, pipeline):
    chat = pipeline.chat(max_new_tokens=8)
    first, second = chat.send("Hello").text, chat.send("And then?").text
    done = triptych("chat", tiny_pipeline, SHORT, stdin="Hello\n\nAnd then?\n")
    assert (done.code, done.out, done.err) == (0, f"{first}\n{second}\n", "")
    assert second != pipeline.generate("And then?", max_new_tokens=8).text


def test_a_system_message_and_sampling_flags_are_heard(triptych, tiny_pipeline, pipeline):
    expected = pipeline.generate(
        "Hello", system="Be brief.", temperature=3.0, seed=7, max_new_tokens=8
    )
    done = triptych(
        "chat", tiny_pipeline, SHORT, "--system=Be brief.", "--temperature=3", "--seed=7",
        stdin="Hello\n",
    )  # fmt: skip
    assert done.out == f"{expected.text}\n"


def test_the_code_is_that_of_the_first_turn_that_failed(triptych, tiny_pipeline):
    done = triptych("chat", tiny_pipeline, SHORT, stdin="Hello\n/imag\nAnd then?\n")
    assert done.code == 2
    assert len(done.out.splitlines()) == 2
    assert done.err.startswith("error: there is no command /imag; did you mean /image?")


def test_a_wrong_flag_ends_it_before_the_weights_are_read(triptych, tiny_pipeline):
    done = triptych("chat", tiny_pipeline, "--top-p=2")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: --top-p 2.0: ")


def test_pictures_go_with_the_next_message_and_no_other(commands, say, picture):
    image = Image.new("RGB", (64, 64), "blue")
    other = picture.parent / "blue.png"
    image.save(other)
    assert say(f"/image {picture}").err == f"{picture} goes with the next message\n"
    say(f"/image {other}")
    say("What is this?")
    say("And now?")
    first, second = (m["content"] for m in commands.session.chat.messages if m["role"] == "user")
    assert [part.get("image") for part in first] == [str(picture), str(other), None]
    assert second == "And now?"


def test_a_picture_changes_the_reply(say, pipeline, picture):
    expected = pipeline.generate("Hello", images=[picture], max_new_tokens=8).text
    say(f"/image {picture}")
    assert say("Hello").out == f"{expected}\n"


def test_paths_with_spaces_may_be_quoted_or_not(commands, say, picture):
    assert " " in picture.name
    say(f"/image {picture}")
    say(f'/image "{picture}"')
    say(f"/image '{picture}' \"{picture}\"")
    assert commands.session.images == [str(picture)] * 4


def test_a_picture_that_cannot_be_used_is_refused_at_once(commands, say, in_folder):
    (in_folder / "notes.txt").write_text("not a picture")
    assert "there is no such file" in say("/image no.png").err
    assert "is not a picture that can be read" in say("/image notes.txt").err
    assert say("/image").err == (
        "error: /image needs the path of a picture, as in /image photo.jpg\n"
    )
    assert commands.session.images == []


def test_videos_go_with_the_next_message_and_are_saved(pipeline, commands, say, picture, in_folder):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("blue", "red")]
    clip = in_folder / "clip.gif"
    frames[0].save(clip, save_all=True, append_images=frames[1:], duration=500)
    assert say("/video clip.gif").err == "clip.gif goes with the next message\n"
    say(f"/image {picture}")
    expected = pipeline.generate("What?", images=[picture], videos=[clip], max_new_tokens=8)
    assert say("What?").out == f"{expected.text}\n"
    assert (commands.session.images, commands.session.videos) == ([], [])
    say("/save talk.json")
    then = say("And now?").out
    say("/video clip.gif")
    say("/load talk.json")
    assert commands.session.videos == []
    assert say("And now?").out == then


def test_a_video_that_cannot_be_used_is_refused_at_once(commands, say, picture):
    assert "there is no such file" in say("/video no.mp4").err
    assert "is a single picture; give it as an image" in say(f"/video {picture}").err
    assert say("/video").err == "error: /video needs the path of a video, as in /video clip.gif\n"
    assert commands.session.videos == []


def test_settings_hold_for_the_turns_to_come(say, pipeline):
    assert say("/set max_new_tokens=3").err == ""
    say("/set temperature=3.0")
    say("/set seed=7")
    expected = pipeline.generate("Hello", max_new_tokens=3, temperature=3.0, seed=7).text
    assert say("Hello").out == f"{expected}\n"
    say("/set temperature=null")
    say("/clear")
    assert say("Hello").out == f"{pipeline.generate('Hello', max_new_tokens=3).text}\n"


def test_set_alone_shows_the_settings(say):
    say("/set stop=[., end]")
    assert say("/set").out == (
        "max_new_tokens = 8\n"
        "seed = the pipeline's own\n"
        "temperature = the pipeline's own\n"
        "top_k = the pipeline's own\n"
        "top_p = the pipeline's own\n"
        "no_sample = the pipeline's own\n"
        'stop = [".", "end"]\n'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("temprature=1", "there is no setting 'temprature'; did you mean 'temperature'?"),
        ("top_p", "/set top_p: is not of the form K=V, as in /set temperature=0.3"),
        ("top_p=2", "top_p=2: sampler.top_p.p: 2 is not 1 or less"),
        ("seed=-1", "seed is -1; it must be a whole number of at least 0"),
        ("seed=true", "seed is True; it must be a whole number of at least 0"),
        ("seed=many", "seed is 'many'; it must be a whole number of at least 0"),
        ("no_sample=1", "no_sample is 1; it must be true or false"),
        ("stop=[1]", "stop is [1]; it must be a text, or a list of texts, none empty"),
    ],
)
def test_a_wrong_setting_is_refused_and_changes_nothing(commands, say, change, message):
    before = dict(commands.session.settings)
    assert say(f"/set {change}").err.startswith(f"error: {message}")
    assert commands.session.settings == before


def test_settings_that_exclude_each_other_are_refused(commands, say):
    say("/set no_sample=true")
    assert "cannot be combined with" in say("/set top_p=0.9").err
    assert "top_p" not in commands.session.settings


def test_an_error_in_a_turn_leaves_the_conversation_as_it_was(commands, say, picture, monkeypatch):
    say("Hello")
    before = list(commands.session.chat.messages)
    say(f"/image {picture}")
    too_long = "x" * 5000
    assert "there is room for" in say(too_long).err
    assert commands.session.chat.messages == before
    assert commands.session.images == []
    assert commands.first_failure == 2
    assert say("And then?").err == ""
    assert len(commands.session.chat.messages) == len(before) + 2


def test_a_fault_in_a_turn_does_not_end_the_conversation(commands, say, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(commands.session.chat, "stream", broken)
    assert say("Hello").err == "error: ZeroDivisionError: of all things\n"
    assert commands.first_failure == 1


def test_a_saved_conversation_goes_on_where_it_ended(pipeline, commands, say, picture, in_folder):
    say(f"/image {picture}")
    say("What is this?")
    assert say("/save 'my talk.json'").err == "saved 2 messages in my talk.json\n"
    expected = say("And then?").out
    other = Commands(Session(pipeline))
    assert other.take("/load my talk.json")
    assert other.session.settings == {"max_new_tokens": 8}
    assert other.session.chat.messages[1]["tokens"] == list(
        commands.session.chat.messages[1]["tokens"]
    )
    assert say("/clear").err == "the conversation begins anew\n"
    assert say("/load my talk.json").err == "loaded 2 messages from my talk.json\n"
    assert say("And then?").out == expected


def test_the_tokens_of_another_pipeline_are_not_kept(commands, say, in_folder):
    say("Hello")
    say("/save talk.json")
    document = json.loads((in_folder / "talk.json").read_text())
    assert Path(document["pipeline"]).name == "pipeline.yaml"
    (in_folder / "talk.json").write_text(json.dumps({**document, "pipeline": "another"}))
    assert say("/load talk.json").err == (
        "loaded 2 messages from talk.json; saved with another, so its replies are tokenized anew\n"
    )
    assert [set(m) for m in commands.session.chat.messages] == [{"role", "content"}] * 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"temperature": -1}}, "temperature=-1: "),
        ({"settings": {"warmth": 1}}, "there is no setting 'warmth'"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "path": "/no/such.png"}]}
                ]
            },
            "messages[0].content[0] (/no/such.png): there is no such file",
        ),
    ],
)
def test_a_conversation_that_cannot_go_on_is_not_loaded(commands, say, in_folder, changes, message):
    say("Hello")
    say("/save talk.json")
    before, settings = list(commands.session.chat.messages), dict(commands.session.settings)
    document = json.loads((in_folder / "talk.json").read_text())
    (in_folder / "talk.json").write_text(json.dumps({**document, **changes}))
    assert say("/load talk.json").err.startswith(f"error: {message}")
    assert commands.session.chat.messages == before
    assert commands.session.settings == settings


def test_clear_keeps_the_system_message(pipeline, capsys):
    commands = Commands(Session(pipeline, system="Be brief.", settings={"max_new_tokens": 2}))
    commands.take("Hello")
    commands.take("/clear")
    assert commands.session.chat.messages == [{"role": "system", "content": "Be brief."}]


def test_help_lists_every_command(say):
    listed = re.findall(r"^/(\w+)", say("/help").out, re.MULTILINE)
    assert (
        listed
        == list(COMMANDS)
        == ["image", "video", "set", "save", "load", "clear", "help", "exit"]
    )


def test_exit_ends_it_and_what_follows_is_not_sent(triptych, tiny_pipeline):
    done = triptych("chat", tiny_pipeline, SHORT, stdin="/exit\nHello\n")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_an_unknown_command_says_the_nearest(say):
    assert say("/hlep").err == (
        "error: there is no command /hlep; did you mean /help? (commands: /image, /video, /set, "
        "/save, /load, /clear, /help, /exit; a message that begins with a slash is written with "
        "two)\n"
    )


def test_a_message_may_begin_with_a_slash(commands, say):
    say("//etc is a folder")
    assert commands.session.chat.messages[0]["content"] == "/etc is a folder"


@pytest.mark.parametrize("command", ["/save", "/load", "/save a b"])
def test_commands_with_a_file_need_one(say, in_folder, command):
    name = command.split()[0]
    assert say(command).err == f"error: {name} needs one file, as in {name} talk.json\n"


def test_verbose_says_how_each_reply_ended(triptych, tiny_pipeline):
    done = triptych("chat", tiny_pipeline, SHORT, "-v", "--seed=1", stdin="Hello\nAnd?\n")
    end = r"8 out, load .*, seed 1\n"
    assert re.fullmatch(
        rf"length: \d+ tokens in, {end}length: \d+ tokens in, \d+ cached, {end}", done.err
    )


def completions(text):
    found = []
    while (one := complete(text, len(found))) is not None:
        found.append(one)
    return found


def test_the_tab_key_completes_commands_files_and_settings(in_folder):
    (in_folder / "topics").mkdir()
    (in_folder / "topics" / "a.png").touch()
    assert completions("/s") == ["/set ", "/save "]
    assert completions("top") == ["topics/", "top_k=", "top_p="]
    assert completions("topics/") == ["topics/a.png"]
    assert {name.rstrip("=") for name in completions("")} <= {"topics/", *SETTINGS}
