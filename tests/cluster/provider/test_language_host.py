"""Programs and plugins in Python, through the engine. The official language host satisfies these as well."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.environments import environment_of

_ENVIRONMENT = {
    "PULUMI_CONFIG_PASSPHRASE": "conformance",
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
}


class Project:
    """A Pulumi project in a folder, with a back end of its own."""

    def __init__(self, folder: Path, main: str, **options: str) -> None:
        self.folder = folder
        (folder / "backend").mkdir(parents=True)
        runtime = {"name": "python", "options": options} if options else "python"
        project = {"name": "hosted", "runtime": runtime, "backend": {"url": f"file://{folder / 'backend'}"}}
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(project))
        (folder / "__main__.py").write_text(main)
        # The programs' interpreter is the one that runs the tests: it has the SDK.
        self.environment = {**os.environ, **_ENVIRONMENT, "VIRTUAL_ENV": sys.prefix}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment["PULUMI_BACKEND_URL"] = f"file://{folder / 'backend'}"
        self.pulumi("stack", "init", "test")

    def pulumi(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command in the project."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def preview(self, *arguments: str, check: bool = True) -> str:
        """What a preview says."""
        done = self.pulumi("preview", "--color=never", *arguments, check=check)
        assert check or done.returncode != 0
        return done.stdout + done.stderr

    def outputs(self) -> dict:
        """The stack's outputs after an update."""
        self.pulumi("up", "--yes", "--skip-preview")
        return json.loads(self.pulumi("stack", "output", "--json", "--show-secrets").stdout)


@pytest.fixture
def project(platform_env: dict[str, str], tmp_path: Path):
    """Makes projects."""
    return lambda main, **options: Project(tmp_path / "project", main, **options)


def test_a_program_runs_in_its_folder_with_its_modules_and_configuration(project) -> None:
    made = project(
        "import os, sys, pulumi, helper\n"
        "config = pulumi.Config()\n"
        "pulumi.export('folder', os.getcwd())\n"
        "pulumi.export('helped', helper.VALUE)\n"
        "pulumi.export('plain', config.require_int('plain'))\n"
        "pulumi.export('hidden', config.require_secret('hidden'))\n"
        "pulumi.export('names', [pulumi.get_project(), pulumi.get_stack()])\n"
        "print('said on stdout')\n"
    )
    (made.folder / "helper.py").write_text("VALUE = 'from a module beside it'\n")
    made.pulumi("config", "set", "plain", "7")
    made.pulumi("config", "set", "--secret", "hidden", "very-hidden")
    assert made.outputs() == {
        "folder": str(made.folder),
        "helped": "from a module beside it",
        "plain": 7,
        "hidden": "very-hidden",
        "names": ["hosted", "test"],
    }
    assert "said on stdout" in made.preview()
    assert "very-hidden" not in made.pulumi("stack", "export").stdout


def test_an_exception_shows_a_traceback_of_the_program_and_fails(project) -> None:
    made = project("import helper\nhelper.boom()\n")
    (made.folder / "helper.py").write_text("def boom():\n    raise ValueError('no such thing')\n")
    said = made.preview(check=False)
    assert "ValueError: no such thing" in said and "helper.py" in said and "boom" in said
    assert "runpy" not in said


def test_an_error_in_an_apply_fails(project) -> None:
    made = project("import pulumi\npulumi.export('x', pulumi.Output.from_input(1).apply(lambda v: v / 0))\n")
    assert "ZeroDivisionError" in made.preview(check=False)


def test_a_run_error_shows_its_message_alone(project) -> None:
    said = project("import pulumi\nraise pulumi.RunError('only this message')\n").preview(check=False)
    assert "only this message" in said and "Traceback" not in said


def test_an_exit_code_fails(project) -> None:
    assert "3" in project("import sys\nsys.exit(3)\n").preview(check=False)


def test_stack_transformations_reach_every_resource(project) -> None:
    made = project(
        "import pulumi\n"
        "class Part(pulumi.ComponentResource):\n"
        "    def __init__(self, name, tag='none', opts=None):\n"
        "        super().__init__('test:index:Part', name, {'tag': tag}, opts)\n"
        "seen = []\n"
        "def note(args):\n"
        "    seen.append(args.name)\n"
        "    return None\n"
        "pulumi.runtime.register_stack_transformation(note)\n"
        "Part('one'); Part('two')\n"
        "pulumi.export('seen', sorted(seen))\n"
    )
    assert made.outputs() == {"seen": ["one", "two"]}


def test_the_virtual_environment_of_the_project_runs_it(project) -> None:
    made = project("import sys, pulumi\npulumi.export('prefix', sys.prefix)\n", virtualenv="own")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made.folder / "own"], check=True)
    packages = next((made.folder / "own" / "lib").glob("python*/site-packages"))
    site = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "shared.pth").write_text(site + "\n")
    assert made.outputs() == {"prefix": str(made.folder / "own")}


def test_an_interrupt_ends_a_program_quietly(project) -> None:
    made = project("import time\nprint('started', flush=True)\ntime.sleep(100)\n")
    process = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--color=never"],
        cwd=made.folder,
        env=made.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "started" in line:
            break
    began = time.monotonic()
    # What a terminal does on Ctrl-C, twice: the second time the engine waits no longer.
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
    said = process.stdout.read()
    assert process.wait(30) != 0 and time.monotonic() - began < 20
    assert "Traceback" not in said


_COMPONENT = '''
import pulumi


class GreetingArgs:
    name: pulumi.Input[str]
    """Whom to greet."""


class Greeting(pulumi.ComponentResource):
    text: pulumi.Output[str]
    """The greeting."""

    def __init__(self, name: str, args: GreetingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("greeter:index:Greeting", name, {}, opts)
        self.text = pulumi.Output.concat("hello ", args.get("name") if isinstance(args, dict) else args.name)
        self.register_outputs({"text": self.text})
'''


def test_a_component_plugin_in_python_is_found_and_used(project, tmp_path: Path) -> None:
    plugin = tmp_path / "greeter"
    plugin.mkdir()
    (plugin / "PulumiPlugin.yaml").write_text(
        "name: greeter\nruntime:\n  name: python\n  options:\n    toolchain: pip\n"
    )
    (plugin / "__main__.py").write_text(
        "from pulumi.provider.experimental import component_provider_host\n"
        "from greeter import Greeting\n"
        "component_provider_host(name='greeter', components=[Greeting])\n"
    )
    (plugin / "greeter.py").write_text(_COMPONENT)
    made = project("")
    schema = json.loads(made.pulumi("package", "get-schema", str(plugin)).stdout)
    assert list(schema["resources"]) == ["greeter:index:Greeting"]


def test_a_policy_pack_in_python_is_enforced(project, tmp_path: Path) -> None:
    options = {"toolchain": "pip", "virtualenv": str(environment_of("policies").parent.parent)}
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text(json.dumps({"runtime": {"name": "python", "options": options}}))
    (pack / "__main__.py").write_text(
        "from pulumi_policy import *\n"
        "def check(args, report):\n"
        "    if args.resource_type == 'pulumi:pulumi:Stack':\n"
        "        report('stacks are forbidden today')\n"
        "PolicyPack('pack', policies=[ResourceValidationPolicy(name='none', description='none',\n"
        "    validate=check, enforcement_level=EnforcementLevel.MANDATORY)])\n"
    )
    made = project("import pulumi\npulumi.export('a', 1)\n")
    assert "stacks are forbidden today" in made.preview("--policy-pack", str(pack), check=False)


def test_about_names_the_interpreter(project) -> None:
    made = project("")
    about = json.loads(made.pulumi("about", "--json").stdout)
    assert about["runtime"]["language"] == "python" and shutil.which(about["runtime"]["executable"])
