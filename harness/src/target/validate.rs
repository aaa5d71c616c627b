//! From the manifest as written to the target: every text parsed, every reference resolved, every contradiction named.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::text;
use super::typed::{
    TargetBuild, TargetCommands, TargetConfigFile, TargetDeadlines, TargetEndpoint, TargetFile, TargetLaunch,
    TargetLog, TargetPrivileges, TargetReady, TargetSlowInit, TargetStop,
};
use super::{Signal, Target, TargetFurther, TargetProblem, Template, TextProblem};
use crate::manifest::{
    Build, ConfigFile, Endpoint, File, KeyPath, LogFile, Manifest, ManifestError, Part, Privileges, Protocol, Ready,
    Reopen, SlowInit, Source, Stop,
};

/// Above the standard streams, and below what the launch needs for itself.
const NOTIFY_FDS: RangeInclusive<i32> = 3..=255;

/// 16 MiB: the kernel's buffers on both sides hold a quarter of that, so the handler is still writing.
const STREAM_BYTES_MIN: u64 = 16 * 1024 * 1024;

impl Target {
    /// Reads and validates the text of a manifest; `file_name` is what errors show.
    ///
    /// # Errors
    /// The first thing in it that is wrong, with its place and the fix.
    ///
    /// # Examples
    /// ```
    /// use unbroken::target::Target;
    ///
    /// let manifest = r#"
    ///     name = "mine/server"
    ///     about = "My server"
    ///     profiles = ["foreground"]
    ///     ready = { answers = "http" }
    ///     stop = { signal = "TERM" }
    ///     launch = { command = ["my-server", "--listen", "{address}"] }
    ///     endpoints = [{ name = "http", address = "127.0.0.1:8080" }]
    /// "#;
    /// let target = Target::parse(manifest, "my-server.toml").expect("it is valid");
    /// assert_eq!(target.name, "mine/server");
    ///
    /// let error = Target::parse(&manifest.replace("about", "abuot"), "my-server.toml").expect_err("a slip");
    /// assert!(error.render(false).contains("did you mean `about`?"));
    /// ```
    pub fn parse(text: &str, file_name: &str) -> Result<Target, ManifestError> {
        let source = Source::new(file_name, text);
        Target::validate(&source.read()?, &source)
    }

    /// Validates a manifest that was read from `source`.
    ///
    /// # Errors
    /// The first thing in it that is wrong, with its place and the fix.
    pub fn validate(manifest: &Manifest, source: &Source) -> Result<Target, ManifestError> {
        let reader = Reader { manifest, source };
        crate::target::name(&manifest.name)
            .map_err(|problem| source.error(KeyPath::of("name"), Part::Value, problem))?;
        let deadlines = reader.deadlines()?;
        let endpoints = reader.endpoints()?;
        Ok(Target {
            name: manifest.name.clone(),
            about: reader.filled(KeyPath::of("about"), &manifest.about)?,
            role: manifest.role,
            profiles: reader.profiles()?,
            capabilities: reader.capabilities()?,
            requires: reader.requires()?,
            launch: reader.launch()?,
            build: manifest.build.as_ref().map(|it| reader.build(it)).transpose()?,
            files: reader.files()?,
            also: reader.also()?,
            ready: reader.ready()?,
            endpoints,
            main: reader.main_process()?,
            pidfile: manifest.pidfile.as_ref().map(|path| reader.rooted(KeyPath::of("pidfile"), path)).transpose()?,
            log: manifest.log.as_ref().map(|log| reader.log(log)).transpose()?,
            config_file: manifest.config_file.as_ref().map(|it| reader.config_file(it)).transpose()?,
            notify_fd: reader.notify_fd()?,
            privileges: manifest.privileges.as_ref().map(|it| reader.privileges(it)).transpose()?,
            slow_init: manifest.slow_init.as_ref().map(|it| reader.slow_init(it)).transpose()?,
            restart: manifest.restart.as_ref().map(|restart| reader.restart(restart)).transpose()?,
            stop: reader.stop()?,
            commands: reader.commands()?,
            stall: manifest.stall,
            deadlines,
        })
    }
}

/// A manifest being validated, and where it was read from.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) manifest: &'a Manifest,
    pub(super) source: &'a Source,
}

impl Reader<'_> {
    /// A text with placeholders.
    pub(super) fn template(&self, at: KeyPath, text: &str) -> Result<Template, ManifestError> {
        text::template(text).map_err(|(problem, piece)| {
            let part = piece.as_deref().map_or(Part::Value, Part::Piece);
            self.source.error(at, part, problem)
        })
    }

    /// A path that does not depend on where the harness was started.
    pub(super) fn rooted(&self, at: KeyPath, path: &str) -> Result<Template, ManifestError> {
        let template = self.template(at.clone(), path)?;
        self.text(at, text::rooted(path))?;
        Ok(template)
    }

    /// A path that the run may write.
    pub(super) fn writable(&self, at: KeyPath, path: &str) -> Result<Template, ManifestError> {
        let template = self.template(at.clone(), path)?;
        self.text(at, text::below_dir(path))?;
        Ok(template)
    }

    /// Program and arguments.
    pub(super) fn command(&self, at: &KeyPath, command: &[String]) -> Result<Vec<Template>, ManifestError> {
        if command.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(self.source.error(at.clone(), Part::Value, TargetProblem::EmptyCommand));
        }
        self.words(at, command)
    }

    /// Arguments.
    fn words(&self, at: &KeyPath, words: &[String]) -> Result<Vec<Template>, ManifestError> {
        words.iter().enumerate().map(|(n, word)| self.template(at.clone().index(n), word)).collect()
    }

    /// The signal of this name.
    pub(super) fn signal(&self, at: KeyPath, name: &str) -> Result<Signal, ManifestError> {
        self.text(at, text::signal(name))
    }

    /// A number from 1 on.
    pub(super) fn positive(&self, at: KeyPath, number: u64) -> Result<u64, ManifestError> {
        if number == 0 { Err(self.source.error(at, Part::Value, TargetProblem::Zero)) } else { Ok(number) }
    }

    /// A text that says something.
    pub(super) fn filled(&self, at: KeyPath, text: &str) -> Result<String, ManifestError> {
        let empty = text.trim().is_empty();
        if empty { Err(self.source.error(at, Part::Value, TextProblem::Empty)) } else { Ok(text.to_owned()) }
    }

    fn text<T>(&self, at: KeyPath, parsed: Result<T, TextProblem>) -> Result<T, ManifestError> {
        parsed.map_err(|problem| self.source.error(at, Part::Value, problem))
    }

    fn requires(&self) -> Result<Vec<crate::manifest::Program>, ManifestError> {
        for (n, program) in self.manifest.requires.iter().enumerate() {
            let at = KeyPath::of("requires").index(n);
            self.filled(at.clone().key("program"), &program.program)?;
            self.filled(at.key("install"), &program.install)?;
        }
        Ok(self.manifest.requires.clone())
    }

    fn launch(&self) -> Result<TargetLaunch, ManifestError> {
        let launch = &self.manifest.launch;
        let at = KeyPath::of("launch");
        for name in launch.sysctl.keys() {
            let at = at.clone().key("sysctl").key(name);
            text::network_setting(name).map_err(|problem| self.source.error(at, Part::Key, problem))?;
        }
        let directory = launch.directory.as_ref();
        Ok(TargetLaunch {
            command: self.command(&at.clone().key("command"), &launch.command)?,
            environment: self.environment(&at, &launch.environment)?,
            sysctl: launch.sysctl.clone(),
            directory: directory.map(|path| self.rooted(at.clone().key("directory"), path)).transpose()?,
            umask: self.text(at.key("umask"), text::octal(&launch.umask, 0o777))?,
            returns: launch.returns,
        })
    }

    fn build(&self, build: &Build) -> Result<TargetBuild, ManifestError> {
        let at = KeyPath::of("build");
        let build_ms = self.positive(KeyPath::of("deadlines").key("build_ms"), self.manifest.deadlines.build_ms)?;
        Ok(TargetBuild {
            command: self.command(&at.clone().key("command"), &build.command)?,
            environment: self.environment(&at, &build.environment)?,
            // Copied by the run.
            product: self.writable(at.key("product"), &build.product)?,
            limit: Duration::from_millis(build_ms),
        })
    }

    /// The variables below the key `environment` of `at`.
    fn environment(
        &self,
        at: &KeyPath,
        variables: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Template>, ManifestError> {
        let variable = |(name, value): (&String, &String)| {
            let at = at.clone().key("environment").key(name);
            text::variable(name).map_err(|problem| self.source.error(at.clone(), Part::Key, problem))?;
            Ok((name.clone(), self.template(at, value)?))
        };
        variables.iter().map(variable).collect()
    }

    fn notify_fd(&self) -> Result<Option<i32>, ManifestError> {
        let number = self.manifest.notify_fd;
        if number.is_some_and(|number| !NOTIFY_FDS.contains(&number)) {
            let problem = TargetProblem::NoDescriptor { possible: NOTIFY_FDS };
            return Err(self.source.error(KeyPath::of("notify_fd"), Part::Value, problem));
        }
        Ok(number)
    }

    fn privileges(&self, privileges: &Privileges) -> Result<TargetPrivileges, ManifestError> {
        let at = KeyPath::of("privileges");
        let Privileges { uid, gid, groups, arguments } = privileges;
        let of_groups = groups.iter().enumerate().map(|(n, group)| (at.clone().key("groups").index(n), *group));
        let ids = [(at.clone().key("uid"), *uid), (at.clone().key("gid"), *gid)];
        for (at, id) in ids.into_iter().chain(of_groups) {
            // -1 means "as it is" to setresuid(2).
            if id == 0 || id == u32::MAX {
                return Err(self.source.error(at, Part::Value, TargetProblem::NobodyElse { id }));
            }
        }
        let arguments = self.words(&at.key("arguments"), arguments)?;
        Ok(TargetPrivileges { uid: *uid, gid: *gid, groups: groups.clone(), arguments })
    }

    fn slow_init(&self, slow: &SlowInit) -> Result<TargetSlowInit, ManifestError> {
        let at = KeyPath::of("slow_init");
        let takes_ms = self.positive(at.clone().key("takes_ms"), slow.takes_ms)?;
        let deadlines = &self.manifest.deadlines;
        let (key, limit_ms) = [("start_ms", deadlines.start_ms), ("upgrade_ms", deadlines.upgrade_ms)]
            .into_iter()
            .min_by_key(|it| it.1)
            .expect("there are two");
        if takes_ms >= limit_ms {
            let problem = TargetProblem::SlowerThanStart { takes_ms, key, limit_ms };
            return Err(self.source.error(at.key("takes_ms"), Part::Value, problem));
        }
        Ok(TargetSlowInit {
            arguments: self.words(&at.clone().key("arguments"), &slow.arguments)?,
            takes: Duration::from_millis(takes_ms),
            output: self.filled(at.key("output"), &slow.output)?,
        })
    }

    fn log(&self, log: &LogFile) -> Result<TargetLog, ManifestError> {
        let at = KeyPath::of("log");
        let Reopen::Signal(signal) = &log.reopen;
        Ok(TargetLog {
            // Renamed by the run.
            path: self.writable(at.clone().key("path"), &log.path)?,
            reopen: self.signal(at.key("reopen").key("signal"), signal)?,
        })
    }

    fn also(&self) -> Result<Vec<TargetFurther>, ManifestError> {
        let also = &self.manifest.also;
        let one = |(n, text): (usize, &String)| {
            let at = KeyPath::of("also").index(n);
            if also[..n].contains(text) {
                return Err(self.twice(at, text));
            }
            let template = self.template(at.clone(), text)?;
            self.text(at, TargetFurther::check(template))
        };
        also.iter().enumerate().map(one).collect()
    }

    fn config_file(&self, file: &ConfigFile) -> Result<TargetConfigFile, ManifestError> {
        let at = KeyPath::of("config_file");
        Ok(TargetConfigFile {
            // Written to by the run.
            path: self.writable(at.clone().key("path"), &file.path)?,
            invalid: self.filled(at.key("invalid"), &file.invalid)?,
        })
    }

    fn files(&self) -> Result<Vec<TargetFile>, ManifestError> {
        let files = &self.manifest.files;
        let file = |(n, file): (usize, &File)| {
            let at = KeyPath::of("files").index(n);
            if files[..n].iter().any(|earlier| earlier.path == file.path) {
                return Err(self.twice(at.key("path"), &file.path));
            }
            if let Some(bytes) = file.bytes.filter(|_| file.content.is_empty()) {
                let problem = TargetProblem::NothingToRepeat { bytes };
                return Err(self.source.error(at.key("bytes"), Part::Value, problem));
            }
            Ok(TargetFile {
                path: self.writable(at.clone().key("path"), &file.path)?,
                content: self.template(at.clone().key("content"), &file.content)?,
                mode: self.text(at.key("mode"), text::octal(&file.mode, 0o7777))?,
                bytes: file.bytes,
            })
        };
        files.iter().enumerate().map(file).collect()
    }

    fn endpoints(&self) -> Result<Vec<TargetEndpoint>, ManifestError> {
        let endpoints = &self.manifest.endpoints;
        if endpoints.is_empty() {
            let problem = TargetProblem::EmptyList { of: "endpoint: the first one is loaded" };
            return Err(self.source.error(KeyPath::of("endpoints"), Part::Value, problem));
        }
        for (n, endpoint) in endpoints.iter().enumerate() {
            if endpoints[..n].iter().any(|earlier| earlier.name == endpoint.name) {
                return Err(self.twice(KeyPath::of("endpoints").index(n).key("name"), &endpoint.name));
            }
        }
        endpoints.iter().enumerate().map(|(n, endpoint)| self.endpoint(n, endpoint)).collect()
    }

    fn endpoint(&self, n: usize, endpoint: &Endpoint) -> Result<TargetEndpoint, ManifestError> {
        let at = |key: &str| KeyPath::of("endpoints").index(n).key(key);
        let header = |key: &str, name: &Option<String>| {
            name.as_ref().map(|name| self.text(at(key), text::header(name))).transpose()
        };
        self.is_spoken(n, endpoint)?;
        if let Some(slow) = &endpoint.slow {
            self.text(at("slow").key("path"), text::request_path(&slow.path))?;
            self.positive(at("slow").key("takes_ms"), slow.takes_ms)?;
            let request_ms = self.manifest.deadlines.request_ms;
            if slow.takes_ms >= request_ms {
                let problem = TargetProblem::SlowerThanDeadline { takes_ms: slow.takes_ms, request_ms };
                return Err(self.source.error(at("slow").key("takes_ms"), Part::Value, problem));
            }
        }
        if let Some(stream) = &endpoint.stream {
            self.text(at("stream").key("path"), text::request_path(&stream.path))?;
            self.positive(at("stream").key("period"), stream.period)?;
            if stream.bytes < STREAM_BYTES_MIN {
                let problem = TargetProblem::StreamTooShort { bytes: stream.bytes };
                return Err(self.source.error(at("stream").key("bytes"), Part::Value, problem));
            }
        }
        if let Some(upload) = &endpoint.upload {
            self.text(at("upload").key("path"), text::request_path(&upload.path))?;
        }
        if let Some(path) = &endpoint.websocket {
            self.text(at("websocket"), text::request_path(path))?;
        }
        Ok(TargetEndpoint {
            name: self.filled(at("name"), &endpoint.name)?,
            address: self.text(at("address"), text::address(&endpoint.address))?,
            protocol: endpoint.protocol,
            path: self.text(at("path"), text::request_path(&endpoint.path))?,
            slow: endpoint.slow.clone(),
            stream: endpoint.stream.clone(),
            upload: endpoint.upload.clone(),
            websocket: endpoint.websocket.clone(),
            backlog: endpoint.backlog,
            version_header: header("version_header", &endpoint.version_header)?,
            echo_header: header("echo_header", &endpoint.echo_header)?,
        })
    }

    /// What an endpoint names is something that its protocol has.
    fn is_spoken(&self, n: usize, endpoint: &Endpoint) -> Result<(), ManifestError> {
        let protocol = endpoint.protocol;
        let headers = [
            ("stream", "answer other than its request", endpoint.stream.is_some()),
            ("upload", "request with a body", endpoint.upload.is_some()),
            ("websocket", "handshake of a WebSocket", endpoint.websocket.is_some()),
            ("version_header", "header", endpoint.version_header.is_some()),
            ("echo_header", "header", endpoint.echo_header.is_some()),
        ];
        match headers.into_iter().find(|(_, _, given)| *given && protocol == Protocol::Echo) {
            None => Ok(()),
            Some((key, what, _)) => {
                let at = KeyPath::of("endpoints").index(n).key(key);
                Err(self.source.error(at, Part::Key, TargetProblem::NotSpoken { protocol, what }))
            }
        }
    }

    fn ready(&self) -> Result<TargetReady, ManifestError> {
        let at = KeyPath::of("ready");
        match &self.manifest.ready {
            Ready::Answers(name) => {
                let endpoints = &self.manifest.endpoints;
                endpoints.iter().position(|endpoint| endpoint.name == *name).map(TargetReady::Answers).ok_or_else(
                    || {
                        let known = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
                        let problem = TargetProblem::NoEndpoint { name: name.clone(), known };
                        self.source.error(at.key("answers"), Part::Value, problem)
                    },
                )
            }
            Ready::File(path) => Ok(TargetReady::File(self.rooted(at.key("file"), path)?)),
            Ready::Output(text) => Ok(TargetReady::Output(self.filled(at.key("output"), text)?)),
        }
    }

    fn stop(&self) -> Result<TargetStop, ManifestError> {
        let at = KeyPath::of("stop");
        match &self.manifest.stop {
            Stop::Signal(name) => Ok(TargetStop::Signal(self.signal(at.key("signal"), name)?)),
            Stop::Command(command) => Ok(TargetStop::Command(self.command(&at.key("command"), command)?)),
        }
    }

    fn commands(&self) -> Result<TargetCommands, ManifestError> {
        let written = &self.manifest.commands;
        let command = |key: &str, words: &Option<Vec<String>>| {
            words.as_ref().map(|words| self.command(&KeyPath::of("commands").key(key), words)).transpose()
        };
        let stop = match (command("stop", &written.stop)?, &self.manifest.stop) {
            (None, Stop::Command(words)) => Some(self.command(&KeyPath::of("stop").key("command"), words)?),
            (own, _) => own,
        };
        let status = command("status", &written.status)?;
        Ok(TargetCommands { stop, status, config_test: command("config_test", &written.config_test)? })
    }

    fn deadlines(&self) -> Result<TargetDeadlines, ManifestError> {
        let written = self.manifest.deadlines;
        let deadline = |key: &str, milliseconds: u64| {
            self.positive(KeyPath::of("deadlines").key(key), milliseconds).map(Duration::from_millis)
        };
        Ok(TargetDeadlines {
            start: deadline("start_ms", written.start_ms)?,
            give_up: written.give_up_ms.map(|ms| deadline("give_up_ms", ms)).transpose()?,
            upgrade: deadline("upgrade_ms", written.upgrade_ms)?,
            drain_least: written.drain_least_ms.map(|ms| deadline("drain_least_ms", ms)).transpose()?,
            drain: deadline("drain_ms", written.drain_ms)?,
            stop: deadline("stop_ms", written.stop_ms)?,
            request: deadline("request_ms", written.request_ms)?,
            answer: deadline("answer_ms", written.answer_ms)?,
        })
    }
}
