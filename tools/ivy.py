"""Fetches the jars of conf/jars.xml with the Ivy that pyspark ships, several JVMs side by side, all or nothing."""

import hashlib
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

CHUNK = 12  # modules a JVM: most of the time goes into waiting for one small file after the other
COMPLETE = ".complete"  # written last, and before the folder gets its name


class Trouble(Exception):  # noqa: N818  # it is the machine's, not the program's
    """What is in the way, in one sentence that says what to do."""

    def __init__(self, sentence: str, exit_code: int = 2) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Ivy:
    """The jars of each configuration, in `<folder>/<configuration>`."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.folder = folder
        self._dependencies = ElementTree.parse(file).getroot().findall("dependencies/dependency")
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._pending: dict[str, Path] = {}

    def is_complete(self, conf: str) -> bool:
        """True where the folder holds exactly what the file asks for today."""
        mark = self.folder / conf / COMPLETE
        return mark.exists() and mark.read_text() == self._digest(conf)

    def resolve(self, confs: tuple[str, ...], ivy_jar: Path, tmp: Path) -> None:
        """Start fetching what is missing of these configurations; `wait` ends it."""
        for conf in confs:
            if conf in self._pending or self.is_complete(conf):
                continue
            print(f"setup: fetching the jars of {conf} ...", file=sys.stderr, flush=True)
            target = tmp / f"jars-{conf}"
            target.mkdir()
            self._pending[conf] = target
            modules = self._modules(conf)
            for number, first in enumerate(range(0, len(modules), CHUNK)):
                self._start(f"{conf}-{number}", modules[first : first + CHUNK], ivy_jar, target, tmp)

    def wait(self) -> None:
        """Give each configuration's folder its name once all its jars are there. Raises Trouble."""
        try:
            for process, log in self._running:
                if process.wait() != 0:
                    self._fail(log)
        finally:
            for process, _ in self._running:
                if process.poll() is None:
                    process.terminate()
        for conf, fetched in self._pending.items():
            self._publish(conf, fetched)

    def _start(self, name: str, modules: list[dict[str, str]], ivy_jar: Path, target: Path, tmp: Path) -> None:
        root = ElementTree.Element("ivy-module", version="2.0")
        ElementTree.SubElement(root, "info", organisation="reco", module=name)
        wanted = ElementTree.SubElement(root, "dependencies")
        for module in modules:
            ElementTree.SubElement(wanted, "dependency", module, conf="default->default", transitive="false")
        file = tmp / f"ivy-{name}.xml"
        ElementTree.ElementTree(root).write(file)
        # "bundle": some modules call their jar so, and would be missing without a word. Folders of the checkout's own
        # user are kept out by -cache; a mirror is named by a settings file of the user's.
        java = str(Path(os.environ["JAVA_HOME"], "bin", "java")) if os.environ.get("JAVA_HOME") else "java"
        command = [java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", str(ivy_jar)]
        if settings := os.environ.get("RECO_IVY_SETTINGS"):
            command += ["-settings", settings]
        command += ["-cache", str(tmp / f"cache-{name}"), "-ivy", str(file), "-types", "jar", "bundle"]
        command += ["-retrieve", f"{target}/[organisation]_[artifact]-[revision].[ext]"]
        log = tmp / f"ivy-{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self._running.append((process, log))

    def _fail(self, log: Path) -> None:
        text = log.read_text(errors="replace")
        if "No space left on device" in text:
            raise Trouble("Could not fetch the jars, the disk is full: make room and run again.")
        missing = [line.strip(": \t") for line in text.splitlines() if "not found" in line and ";" in line]
        reason = missing[0] if missing else text.strip()[-200:]
        raise Trouble(
            f"Could not fetch the jars ({reason}): check the network and run again, "
            "or name a mirror with RECO_IVY_SETTINGS=ivysettings.xml.",
            exit_code=1,
        )

    def _publish(self, conf: str, fetched: Path) -> None:
        found, expected = len(list(fetched.glob("*.jar"))), len(self._modules(conf))
        if found != expected:
            raise Trouble(f"{found} jars came for {conf} and {expected} were asked for: run again.", exit_code=1)
        (fetched / COMPLETE).write_text(self._digest(conf))
        target = self.folder / conf
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(fetched.with_name(f"old-{conf}"))  # thrown away with the temporary folder
        fetched.rename(target)
        shutil.rmtree(fetched.with_name(f"old-{conf}"), ignore_errors=True)

    def _modules(self, conf: str) -> list[dict[str, str]]:
        return [
            {key: item.attrib[key] for key in ("org", "name", "rev")}
            for item in self._dependencies
            if conf in item.attrib["conf"].split("->")[0].split(",")
        ]

    def _digest(self, conf: str) -> str:
        return hashlib.sha256(repr(self._modules(conf)).encode()).hexdigest()
