"""The catalog finds what is installed, imports no more than that, and survives broken plugins."""

import re
from pathlib import Path

import pytest

from tests.core.environments import install, wheel
from triptych.core.components import catalog
from triptych.core.components.catalog import Catalog, UnknownComponent
from triptych.core.components.component import INTERFACE_VERSION, KINDS, Component
from triptych.core.components.entry import Entry, Origin, PluginFault

MANIFEST = """
    from triptych import Component, hookimpl

    @hookimpl
    def {kind}():
        return [{components}]
"""
HEAVY = {"numpy", "pydantic", "onnxruntime", "transformers"}


def manifest(*components, kind="samplers"):
    return MANIFEST.format(kind=kind, components=", ".join(components))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One environment with good and bad plugins side by side."""
    folder = tmp_path_factory.mktemp("wheels")
    min_p = 'Component("min_p", "{}_pkg.min_p:MinP", "Keep likely tokens.", main="p")'
    source = "class MinP:\n    keeps_winner = True\n"
    draw = 'Component("pick", "acme_pkg.min_p:Pick", "Pick one.", role="choose")'
    wheels = [
        wheel(
            folder,
            "acme-samplers",
            "1.2",
            {
                "acme_pkg/__init__.py": "",
                "acme_pkg/manifest.py": manifest(min_p.format("acme"), draw),
                "acme_pkg/min_p.py": source + "class Pick: pass\n",
            },
            "acme",
            "acme_pkg.manifest",
        ),
        wheel(
            folder,
            "zeta",
            "0.1",
            {
                "zeta_pkg/__init__.py": "",
                "zeta_pkg/manifest.py": manifest(min_p.format("zeta")),
                "zeta_pkg/min_p.py": source,
            },
            "zeta",
            "zeta_pkg.manifest",
        ),
        wheel(
            folder,
            "lost-dependency",
            "2.0",
            {"lost.py": "import a_package_that_nobody_has\n"},
            "lost",
            "lost",
        ),
        wheel(
            folder,
            "half",
            "3.1",
            {
                "half.py": manifest(
                    'Component("bad", "half_bad:Bad", "Its module raises.")',
                    'Component("gone", "half_good:Gone", "Its class is missing.")',
                    'Component("function", "half_good:function", "It is no class.")',
                    'Component("exits", "half_exit:Exits", "Its module exits.")',
                    'Component("good", "half_good:Good", "It works.")',
                ),
                "half_bad.py": "raise ImportError('libhalf.so: cannot open\\nmore lines')\n",
                "half_exit.py": "raise SystemExit(3)\n",
                "half_good.py": "class Good: pass\ndef function(): pass\n",
            },
            "half",
            "half",
        ),
        wheel(
            folder,
            "thrower",
            "1.0",
            {
                "thrower.py": """
                    from triptych import Component, hookimpl

                    @hookimpl
                    def samplers():
                        raise ZeroDivisionError("division by zero")

                    @hookimpl
                    def stages():
                        return [Component("fine", "thrower:Fine", "Not a sampler.")]

                    class Fine: pass
                """
            },
            "thrower",
            "thrower",
        ),
        wheel(
            folder,
            "future",
            "9.0",
            {
                "future.py": manifest(
                    f'Component("new", "future:New", "New.", api={INTERFACE_VERSION + 1})',
                    f'Component("old", "future:Old", "Old.", api={INTERFACE_VERSION})',
                )
                + "\n    class Old: pass\n",
            },
            "future",
            "future",
        ),
        wheel(
            folder,
            "misspelt",
            "1.0",
            {
                "misspelt.py": """
                    from triptych import hookimpl

                    @hookimpl
                    def sampler():
                        return []
                """
            },
            "misspelt",
            "misspelt",
        ),
        wheel(
            folder,
            "quitter",
            "1.0",
            {"quitter.py": "raise SystemExit('wrong machine')\n"},
            "quitter",
            "quitter",
        ),
        wheel(folder, "no-relation", "1.0", {"no_relation.py": ""}),
        wheel(folder, "pretender", "1.0", {"pretender.py": ""}, "local", "pretender"),
        wheel(folder, "spaced", "1.0", {"spaced.py": ""}, "my plugin", "spaced"),
    ]
    return install(tmp_path_factory.mktemp("site"), wheels)


@pytest.fixture(scope="module")
def rivals(tmp_path_factory):
    """Two distributions that claim one owner, and an innocent third."""
    folder = tmp_path_factory.mktemp("wheels")
    wheels = [
        wheel(
            folder,
            distribution,
            "1.0",
            {
                f"{owner}_{module}.py": manifest(f'Component("x", "{owner}_{module}:X", "")')
                + "\n    class X: pass\n"
            },
            owner,
            f"{owner}_{module}",
        )
        for distribution, owner, module in [
            ("acme-one", "acme", "one"),
            ("acme-two", "acme", "two"),
            ("zeta", "zeta", "one"),
        ]
    ]
    return install(tmp_path_factory.mktemp("site"), wheels)


def test_an_installed_component_is_found_under_its_owner(site):
    found = site.find("samplers", "acme/min_p")
    imported = set(found.pop("imported"))
    assert found == {
        "full_name": "acme/min_p",
        "owner": "acme",
        "role": "warp",
        "distribution": "acme-samplers",
        "version": "1.2",
        "class": "acme_pkg.min_p:MinP",
    }
    assert "zeta_pkg" not in imported
    assert not HEAVY & imported


def test_two_plugins_may_offer_the_same_short_name(site):
    assert site.find("samplers", "zeta/min_p")["class"] == "zeta_pkg.min_p:MinP"
    assert site.find("samplers", "acme/min_p")["class"] == "acme_pkg.min_p:MinP"


def test_a_manifest_may_say_the_role(site):
    assert site.find("samplers", "acme/pick")["role"] == "choose"


@pytest.mark.parametrize(
    ("kind", "name", "error", "message"),
    [
        (
            "samplers",
            "lost/any",
            "PluginFault",
            "plugin 'lost' (lost-dependency 2.0) cannot be used: importing lost raised "
            "ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        ),
        (
            "samplers",
            "quitter/any",
            "PluginFault",
            "plugin 'quitter' (quitter 1.0) cannot be used: importing quitter raised SystemExit: "
            "wrong machine",
        ),
        (
            "samplers",
            "half/bad",
            "PluginFault",
            "half/bad, from plugin 'half' (half 3.1), cannot be used: importing half_bad raised "
            "ImportError: libhalf.so: cannot open",
        ),
        (
            "samplers",
            "half/exits",
            "PluginFault",
            "half/exits, from plugin 'half' (half 3.1), cannot be used: importing half_exit raised "
            "SystemExit: 3",
        ),
        (
            "samplers",
            "half/gone",
            "PluginFault",
            "half/gone, from plugin 'half' (half 3.1), cannot be used: half_good has no Gone",
        ),
        (
            "samplers",
            "half/function",
            "PluginFault",
            "half/function, from plugin 'half' (half 3.1), cannot be used: its target "
            "half_good:function is of type function, not a class",
        ),
        (
            "samplers",
            "thrower/any",
            "PluginFault",
            "plugin 'thrower' (thrower 1.0) cannot be used: its samplers() raised "
            "ZeroDivisionError: division by zero",
        ),
        (
            "samplers",
            "future/new",
            "PluginFault",
            "future/new, from plugin 'future' (future 9.0), was written for interface 2 and this "
            "Triptych has interface 1: upgrade triptych",
        ),
        (
            "samplers",
            "misspelt/any",
            "PluginFault",
            "plugin 'misspelt' (misspelt 1.0) has a bad manifest: there is no hook sampler; "
            "did you mean samplers? known hooks: caches, datasets, exporters, metrics, "
            "processors, samplers, stages, strategies",
        ),
        (
            "samplers",
            "acme/min_q",
            "UnknownComponent",
            "there is no sampler 'acme/min_q'\n"
            "  did you mean 'acme/min_p'?\n"
            "  known: acme/min_p, acme/pick",
        ),
        (
            "stages",
            "acme/min_p",
            "UnknownComponent",
            "there is no stage 'acme/min_p': plugin 'acme' offers no stages",
        ),
        (
            "samplers",
            "acne/min_p",
            "UnknownComponent",
            "no installed plugin is called 'acne', which 'acne/min_p' needs\n"
            "  did you mean 'acme/min_p'?\n"
            "  install the package that offers it\n"
            "  known: acme, future, half, lost, misspelt, my plugin, quitter, thrower, "
            "zeta",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_owner_distribution_and_cause(
    site, kind, name, error, message
):
    answer = site.find(kind, name)
    assert (answer["error"], answer["message"]) == (error, message)


def test_a_broken_hook_or_component_does_not_harm_its_neighbours(site):
    assert site.find("stages", "thrower/fine")["class"] == "thrower:Fine"
    assert site.find("samplers", "half/good")["class"] == "half_good:Good"
    assert site.find("samplers", "future/old")["class"] == "future:Old"


def test_everything_lists_the_sound_and_names_the_broken(site):
    found = site.everything()
    assert found["third"] == [
        "acme/min_p",
        "acme/pick",
        "future/old",
        "half/good",
        "thrower/fine",
        "zeta/min_p",
    ]
    assert "full" in found["own"]
    assert found["faults"] == [
        "future/new, from plugin 'future' (future 9.0), was written for interface 2 and this "
        "Triptych has interface 1: upgrade triptych",
        "half/bad, from plugin 'half' (half 3.1), cannot be used: importing half_bad raised "
        "ImportError: libhalf.so: cannot open",
        "half/gone, from plugin 'half' (half 3.1), cannot be used: half_good has no Gone",
        "half/function, from plugin 'half' (half 3.1), cannot be used: its target "
        "half_good:function is of type function, not a class",
        "half/exits, from plugin 'half' (half 3.1), cannot be used: importing half_exit raised "
        "SystemExit: 3",
        "plugin 'local' (pretender 1.0) cannot be used: the owner 'local' belongs to --plugin "
        "files",
        "plugin 'lost' (lost-dependency 2.0) cannot be used: importing lost raised "
        "ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        "plugin 'misspelt' (misspelt 1.0) has a bad manifest: there is no hook sampler; "
        "did you mean samplers? known hooks: caches, datasets, exporters, metrics, processors, "
        "samplers, stages, strategies",
        "plugin 'my plugin' (spaced 1.0) cannot be used: an owner is made of letters, digits, "
        "_ and -",
        "plugin 'quitter' (quitter 1.0) cannot be used: importing quitter raised SystemExit: "
        "wrong machine",
        "plugin 'thrower' (thrower 1.0) cannot be used: its samplers() raised "
        "ZeroDivisionError: division by zero",
    ]


def test_two_distributions_that_claim_one_owner_are_an_error_on_use(rivals):
    answer = rivals.find("samplers", "acme/x")
    message = (
        "plugin 'acme' cannot be used: acme-one 1.0 and acme-two 1.0 both claim this owner; "
        "uninstall all but one"
    )
    assert (answer["error"], answer["message"]) == ("PluginFault", message)
    assert not {"acme_one", "acme_two"} & set(answer["imported"])
    assert rivals.find("samplers", "zeta/x")["class"] == "zeta_one:X"
    assert rivals.everything()["faults"] == [message]


def test_a_distribution_with_unreadable_metadata_hides_no_other(tmp_path):
    site = install(
        tmp_path / "site",
        [
            wheel(
                tmp_path,
                "acme",
                "1.0",
                {"acme.py": manifest('Component("x", "acme:X", "")') + "\n    class X: pass\n"},
                "acme",
                "acme",
            )
        ],
    )
    broken = tmp_path / "site" / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Name: broken\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text("[triptych]\nthis line is no entry point\n")
    assert site.find("samplers", "acme/x")["class"] == "acme:X"
    (fault,) = site.everything()["faults"]
    assert fault.startswith("distribution broken 1.0 has metadata that cannot be read: ")
    assert fault in site.find("samplers", "other/x")["message"]


def test_a_bare_name_never_reads_the_metadata_of_third_parties(monkeypatch):
    def fail():
        raise AssertionError("metadata was read")

    monkeypatch.setattr("importlib.metadata.distributions", fail)
    assert Catalog().find("caches", "full").owner is None
    with pytest.raises(UnknownComponent):
        Catalog().find("caches", "fulll")
    with pytest.raises(AssertionError, match="metadata was read"):
        Catalog().find("caches", "acme/full")


def test_a_built_in_name_of_another_kind_is_said_to_be_that():
    with pytest.raises(UnknownComponent) as caught:
        Catalog().find("stages", "full")
    assert str(caught.value).splitlines()[0] == "there is no stage 'full'; 'full' is a cache"


def test_an_unknown_bare_name_gives_the_nearest_and_the_known_ones():
    with pytest.raises(UnknownComponent) as caught:
        Catalog().find("caches", "windw")
    error = caught.value
    assert (error.name, error.kind, error.nearest) == ("windw", "caches", "window")
    assert error.known == ("full", "h2o", "key_norm", "window")
    assert str(error) == (
        "there is no cache 'windw'\n  did you mean 'window'?\n  known: full, h2o, key_norm, window"
    )


@pytest.mark.parametrize("name", ["", "/", "local/", "/full", "full/"])
def test_an_incomplete_name_is_unknown(name):
    with pytest.raises(UnknownComponent):
        Catalog().find("caches", name)


def local_file(folder, source, name="my.py"):
    file = folder / name
    file.write_text(source)
    return file


LOCAL = """
from dataclasses import dataclass
import triptych

@triptych.hookimpl
def samplers():
    return [triptych.Component("min_p", ":MinP", "Keep likely tokens.")]

@dataclass
class MinP:
    keeps_winner: bool = True
"""


def test_a_plugin_file_is_offered_as_local(tmp_path):
    local = Catalog([local_file(tmp_path, LOCAL)])
    entry = local.find("samplers", "local/min_p")
    assert entry.load().__name__ == "MinP"
    assert (entry.owner, entry.distribution, entry.version) == ("local", None, None)
    assert "local/min_p" in local.names("samplers")


def test_a_bare_name_that_a_plugin_file_offers_is_pointed_out(tmp_path):
    ours = LOCAL.replace("min_p", "zigzag")
    with pytest.raises(UnknownComponent) as caught:
        Catalog([local_file(tmp_path, ours)]).find("samplers", "zigzag")
    assert caught.value.nearest == "local/zigzag"


def test_a_local_name_without_a_file_says_how_to_give_one():
    with pytest.raises(UnknownComponent) as caught:
        Catalog().find("samplers", "local/min_p")
    assert str(caught.value) == (
        "there is no sampler 'local/min_p': no plugin file was given\n"
        "  give one with --plugin FILE (plugins=[FILE])"
    )


def test_two_plugin_files_may_not_offer_one_name(tmp_path):
    one = local_file(tmp_path, LOCAL, "one.py")
    two = local_file(tmp_path, LOCAL, "two.py")
    with pytest.raises(PluginFault) as caught:
        Catalog([one, two]).find("samplers", "local/min_p")
    assert str(caught.value) == (
        f"local/min_p, from plugin 'local', cannot be used: {one} and {two} both offer it; "
        "rename one"
    )


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "import nothing_like_it",
            "cannot be used: it raised ModuleNotFoundError: No module named 'nothing_like_it'",
        ),
        ("def samplers(:", "cannot be used: it raised SyntaxError: invalid syntax (my.py, line 1)"),
        ("raise SystemExit", "cannot be used: it raised SystemExit"),
        (
            "x = 1",
            "has a bad manifest: it has no hook; put @triptych.hookimpl on a function that "
            "is named for its kind, such as samplers",
        ),
    ],
)
def test_a_broken_plugin_file_is_named_with_its_cause(tmp_path, source, problem):
    file = local_file(tmp_path, source)
    with pytest.raises(PluginFault) as caught:
        Catalog([file]).find("samplers", "local/any")
    assert str(caught.value) == f"plugin file {file} {problem}"
    assert Catalog([file]).find("caches", "full").load()


def test_a_plugin_file_that_is_not_there_is_named(tmp_path):
    file = tmp_path / "absent.py"
    with pytest.raises(PluginFault) as caught:
        Catalog([file]).find("samplers", "local/any")
    assert str(caught.value) == f"plugin file {file} cannot be used: there is no such file"


def test_a_broken_plugin_file_does_not_hide_a_sound_one(tmp_path):
    files = [local_file(tmp_path, "1 / 0", "broken.py"), local_file(tmp_path, LOCAL)]
    assert Catalog(files).find("samplers", "local/min_p").load()
    _, faults = Catalog(files).everything()
    assert [fault.origin.file for fault in faults if fault.owner == "local"] == [files[0]]


HOOK = """
from triptych import Component, hookimpl

@hookimpl
def {hook}:
    {body}
"""


@pytest.mark.parametrize(
    ("hook", "body", "problem"),
    [
        ("samplers()", "pass", "samplers() returned None, not a list of Component"),
        ("samplers()", "return 3", "samplers() returned int, not a list of Component"),
        ("samplers()", "return 'min_p'", "samplers() returned str, not a list of Component"),
        (
            "samplers()",
            "return Component('a', 'm:A', '')",
            "samplers() returned Component, not a list of Component",
        ),
        ("samplers()", "return ['min_p']", "samplers() lists str, not a Component"),
        ("samplers()", "return [None]", "samplers() lists None, not a Component"),
        (
            "samplers()",
            "return [Component('a', 'm:A', '')] * 2",
            "samplers() lists 'a' 2 times",
        ),
        (
            "samplers()",
            "return [Component('a b', 'm:A', '')]",
            "in samplers(), the name 'a b' is not made of letters, digits, _ and -",
        ),
        (
            "samplers()",
            "return [Component('acme/a', 'm:A', '')]",
            "in samplers(), the name 'acme/a' is not made of letters, digits, _ and -",
        ),
        (
            "samplers()",
            "return [Component(7, 'm:A', '')]",
            "in samplers(), the name 7 is not made of letters, digits, _ and -",
        ),
        (
            "samplers()",
            "return [Component('a', 'm.A', '')]",
            "in samplers(), the target 'm.A' of 'a' is not written package.module:Class",
        ),
        (
            "samplers()",
            "return [Component('a', int, '')]",
            "in samplers(), the target <class 'int'> of 'a' is not written package.module:Class",
        ),
        (
            "samplers()",
            "return [Component('a', 'm:A', None)]",
            "in samplers(), the summary of 'a' is not text",
        ),
        (
            "samplers()",
            "return [Component('a', 'm:A', '', main=1)]",
            "in samplers(), main of 'a' is not the name of a setting",
        ),
        (
            "samplers()",
            "return [Component('a', 'm:A', '', role='Warp')]",
            "in samplers(), the role of 'a' is not 'warp' or 'choose'",
        ),
        (
            "stages()",
            "return [Component('a', 'm:A', '', role='warp')]",
            "in stages(), the role of 'a' is not for its kind, only for samplers",
        ),
        (
            "samplers()",
            "return [Component('a', 'm:A', '', api='1')]",
            "in samplers(), api of 'a' is not a number from 1",
        ),
    ],
)
def test_a_bad_manifest_is_told_what_is_wrong_with_it(tmp_path, hook, body, problem):
    file = local_file(tmp_path, HOOK.format(hook=hook, body=body))
    kind = hook.removesuffix("()")
    with pytest.raises(PluginFault) as caught:
        Catalog([file]).find(kind, "local/a")
    assert str(caught.value) == f"plugin file {file} has a bad manifest: {problem}"


def test_a_hook_with_arguments_is_a_bad_manifest(tmp_path):
    file = local_file(tmp_path, HOOK.format(hook="samplers(config)", body="return []"))
    with pytest.raises(PluginFault, match="has a bad manifest: ") as caught:
        Catalog([file]).find("samplers", "local/a")
    assert "config" in str(caught.value)


def test_a_hook_may_yield_its_components(tmp_path):
    file = local_file(
        tmp_path, HOOK.format(hook="caches()", body="yield Component('a', 'builtins:int', '')")
    )
    assert Catalog([file]).find("caches", "local/a").load() is int


def test_only_a_plugin_file_may_leave_the_module_out_of_a_target(tmp_path):
    site = install(
        tmp_path / "site",
        [
            wheel(
                tmp_path,
                "acme",
                "1.0",
                {"acme.py": manifest('Component("x", ":X", "")') + "\n    class X: pass\n"},
                "acme",
                "acme",
            )
        ],
    )
    assert site.find("samplers", "acme/x")["message"] == (
        "plugin 'acme' (acme 1.0) has a bad manifest: in samplers(), the target ':X' of 'x' is "
        "not written package.module:Class"
    )


def test_every_built_in_component_can_be_loaded_and_has_a_sentence_of_summary():
    found = [entry for entry in Catalog().everything()[0] if entry.owner is None]
    assert found
    for entry in found:
        assert isinstance(entry.load(), type)
        assert re.fullmatch(r"[A-Z0-9].*\.", entry.component.summary)


def test_an_exporter_whose_packages_are_missing_says_what_brings_them():
    component = Component("qwen3_vl", "package_of_the_extra:X", "")
    with pytest.raises(PluginFault) as caught:
        Entry(component, "exporters", Origin()).load()
    assert str(caught.value) == (
        "qwen3_vl, from Triptych itself, cannot be used: importing package_of_the_extra raised "
        "ModuleNotFoundError: No module named 'package_of_the_extra'; "
        "pip install 'triptych[export]'"
    )


def test_the_built_in_table_has_every_kind_and_names_what_exists():
    assert tuple(catalog.BUILT_IN) == KINDS
    root = Path(catalog.__file__).parents[3]
    listed = {module for modules in catalog.BUILT_IN.values() for module in modules}
    there = {
        ".".join(file.relative_to(root).with_suffix("").parts)
        for folder in ("plugins", "export", "models")
        for file in (root / "triptych" / folder).rglob("manifest.py")
    }
    assert listed == there


def test_the_role_of_a_sampler_follows_from_its_class_when_unsaid():
    component = Component("x", "builtins:int", "")
    assert Entry(component, "samplers", Origin()).role == "choose"
    assert Entry(component, "stages", Origin()).role is None
