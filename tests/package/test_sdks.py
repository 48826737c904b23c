"""SDKs for other languages, which Pulumi's own generators make of the plugin's schema, compile."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from devkit import toolchain
from tests.toolchain import HOME

SCHEMA = Path(__file__).with_name("schema.json")
ENGINE = toolchain.groups()["pulumi"].home / "pulumi"
"""The Go module that pins the engine, whose packages the generators are."""
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("go"), reason="Go is not on this machine"),
]


def run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def sdks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each language. Go keeps what it built of the generators."""
    folder = tmp_path_factory.mktemp("sdks")
    run("go", "run", HOME / "sdks" / "main.go", SCHEMA, folder, folder=ENGINE)
    return folder


def test_the_sdk_for_go_compiles_with_a_program_that_uses_it(sdks: Path) -> None:
    folder = sdks / "go"
    module = re.sub(r"^tool .*$", "", (ENGINE / "go.mod").read_text(), flags=re.MULTILINE)
    [path] = set(re.findall(r'"(\S+)/modelops/internal"', (folder / "modelops" / "init.go").read_text()))
    (folder / "go.mod").write_text(re.sub(r"^module .*$", f"module {path}", module, flags=re.MULTILINE))
    shutil.copy(ENGINE / "go.sum", folder)
    (folder / "program").mkdir()
    (folder / "program" / "main.go").write_text(f"""package main

import (
	"{path}/modelops"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

func main() {{
	pulumi.Run(func(ctx *pulumi.Context) error {{
		service, err := modelops.NewModelService(ctx, "demo", &modelops.ModelServiceArgs{{
			Namespace: pulumi.String("ml"),
			Image:     pulumi.String("registry.example.com/serve"),
			ModelUri:  pulumi.String("models:/line/1"),
			Replicas:  pulumi.Int(2),
		}})
		if err != nil {{
			return err
		}}
		ctx.Export("url", service.PredictUrl)
		return nil
	}})
}}
""")
    run("go", "vet", "./modelops/...", "./program", folder=folder)


@pytest.mark.skipif(not shutil.which("npm"), reason="Node is not on this machine")
def test_the_sdk_for_typescript_compiles_with_a_program_that_uses_it(sdks: Path) -> None:
    consumer = json.loads(
        (Path(__file__).parents[1] / "cluster" / "teams" / "typescript" / "package.json").read_text(encoding="utf-8")
    )
    folder = sdks / "nodejs"
    (folder / "package.json").write_text(json.dumps({**consumer, "name": "@pulumi/modelops", "version": "0.0.0"}))
    (folder / "program.ts").write_text("""import { ModelService } from "./index";

const service = new ModelService("demo", {
    namespace: "ml",
    image: "registry.example.com/serve",
    modelUri: "models:/line/1",
    replicas: 2,
});
export const url = service.predictUrl;
""")
    run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", folder=folder)
    compiler = folder / "node_modules" / ".bin" / "tsc"
    flags = ("--noEmit", "--strict", "--target", "es2020", "--module", "commonjs", "--esModuleInterop")
    run(compiler, *flags, "program.ts", folder=folder)
