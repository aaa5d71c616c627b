//! What is read from a manifest can be written and read again, whatever stands in it.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use unbroken::manifest::{
    Await, Build, Capability, Commands, ConfigFile, Deadlines, Done, Endpoint, File, Launch, LogFile, MainProcess,
    Manifest, Privileges, Profile, Program, Protocol, Ready, Recipient, Reopen, Restart, RestartStep, Role, Slow,
    SlowInit, Source, Stall, Stop, Stream, Upload, Watch, WatchKind,
};
use unbroken::target::Target;

fn text() -> BoxedStrategy<String> {
    prop_oneof![any::<String>(), "[a-z{}\"'\\\\\n]{0,8}"].boxed()
}

/// TOML's integers have 63 bits.
fn number() -> BoxedStrategy<u64> {
    (0..=i64::MAX.cast_unsigned()).boxed()
}

fn profile() -> BoxedStrategy<Profile> {
    prop_oneof![Just(Profile::Daemon), Just(Profile::Foreground), Just(Profile::Restart), Just(Profile::Activated)]
        .boxed()
}

fn capability() -> BoxedStrategy<Capability> {
    prop_oneof![
        Just(Capability::Pidfile),
        Just(Capability::StopCommand),
        Just(Capability::StatusCommand),
        Just(Capability::NotifyReload),
        Just(Capability::H2),
        Just(Capability::Watch),
        Just(Capability::ExecSelf),
        Just(Capability::NotifyFd),
        Just(Capability::Log)
    ]
    .boxed()
}

fn launch() -> BoxedStrategy<Launch> {
    let pairs = || btree_map(text(), text(), 0..3);
    let parts = (vec(text(), 0..3), pairs(), pairs(), of(text()), text(), any::<bool>());
    let launch = |(command, environment, sysctl, directory, umask, returns)| Launch {
        command,
        environment,
        sysctl,
        directory,
        umask,
        returns,
    };
    parts.prop_map(launch).boxed()
}

fn file() -> BoxedStrategy<File> {
    (text(), text(), text(), of(number()))
        .prop_map(|(path, content, mode, bytes)| File { path, content, mode, bytes })
        .boxed()
}

fn endpoint() -> BoxedStrategy<Endpoint> {
    let slow = (text(), number()).prop_map(|(path, takes_ms)| Slow { path, takes_ms });
    let stream = (text(), number(), number()).prop_map(|(path, bytes, period)| Stream { path, bytes, period });
    let upload = text().prop_map(|path| Upload { path });
    let protocol = prop_oneof![Just(Protocol::Http1), Just(Protocol::Echo)];
    let asked = (text(), of(slow), of(stream), of(upload), of(text()));
    (text(), text(), protocol, asked, of(any::<u32>()), of(text()), of(text()))
        .prop_map(|(name, address, protocol, asked, backlog, version_header, echo_header)| {
            let (path, slow, stream, upload, websocket) = asked;
            Endpoint {
                name,
                address,
                protocol,
                path,
                slow,
                stream,
                upload,
                websocket,
                backlog,
                version_header,
                echo_header,
            }
        })
        .boxed()
}

fn ready() -> BoxedStrategy<Ready> {
    prop_oneof![text().prop_map(Ready::Answers), text().prop_map(Ready::File), text().prop_map(Ready::Output)].boxed()
}

fn wait() -> BoxedStrategy<Await> {
    prop_oneof![
        Just(Await::NewMain),
        text().prop_map(Await::File),
        text().prop_map(Await::FileGone),
        Just(Await::OldMainExit),
        Just(Await::OldWorkersExit),
        Just(Await::NewVersion)
    ]
    .boxed()
}

fn step() -> BoxedStrategy<RestartStep> {
    let to = prop_oneof![
        Just(Recipient::Main),
        Just(Recipient::OldMain),
        Just(Recipient::NewMain),
        text().prop_map(Recipient::PidIn)
    ];
    prop_oneof![
        Just(RestartStep::Deploy),
        Just(RestartStep::Launch),
        (text(), to).prop_map(|(signal, to)| RestartStep::Signal { signal, to }),
        vec(text(), 0..3).prop_map(|command| RestartStep::Run { command }),
        text().prop_map(RestartStep::Touch),
        text().prop_map(RestartStep::Replace),
        text().prop_map(RestartStep::Rewrite),
        wait().prop_map(RestartStep::Wait)
    ]
    .boxed()
}

fn restart() -> BoxedStrategy<Restart> {
    let done = prop_oneof![Just(Done::NewVersion), Just(Done::OldMainExit), Just(Done::Steps)];
    let kind = prop_oneof![Just(WatchKind::Executable), Just(WatchKind::Data)];
    let watch = (text(), kind, any::<u32>()).prop_map(|(path, kind, processes)| Watch { path, kind, processes });
    (vec(step(), 0..6), done, of(watch)).prop_map(|(steps, done, watch)| Restart { steps, done, watch }).boxed()
}

fn stop() -> BoxedStrategy<Stop> {
    prop_oneof![text().prop_map(Stop::Signal), vec(text(), 0..3).prop_map(Stop::Command)].boxed()
}

fn commands() -> BoxedStrategy<Commands> {
    let command = || of(vec(text(), 0..3));
    (command(), command(), command())
        .prop_map(|(stop, status, config_test)| Commands { stop, status, config_test })
        .boxed()
}

fn deadlines() -> BoxedStrategy<Deadlines> {
    let begin = (number(), number(), of(number()), number());
    let rest = (of(number()), number(), number(), number(), number());
    (begin, rest)
        .prop_map(|((build_ms, start_ms, give_up_ms, upgrade_ms), rest)| {
            let (drain_least_ms, drain_ms, stop_ms, request_ms, answer_ms) = rest;
            Deadlines {
                build_ms,
                start_ms,
                give_up_ms,
                upgrade_ms,
                drain_least_ms,
                drain_ms,
                stop_ms,
                request_ms,
                answer_ms,
            }
        })
        .boxed()
}

/// The claims: what the manifest says of itself.
type Said = (String, String, Role, Vec<Profile>, Vec<Capability>, BTreeMap<Capability, String>, Vec<Program>);

fn said() -> BoxedStrategy<Said> {
    let role = prop_oneof![Just(Role::Reference), Just(Role::Control), Just(Role::Null), Just(Role::Peer)];
    let program = (text(), text()).prop_map(|(program, install)| Program { program, install });
    (
        prop_oneof![text(), "[a-z]{1,4}"],
        text(),
        role,
        vec(profile(), 0..3),
        vec(capability(), 0..3),
        btree_map(capability(), text(), 0..3),
        vec(program, 0..2),
    )
        .boxed()
}

fn stall() -> BoxedStrategy<Stall> {
    prop_oneof![Just(Stall::StopWorkers), any::<std::num::NonZeroU32>().prop_map(Stall::Connections)].boxed()
}

fn manifest() -> BoxedStrategy<Manifest> {
    let main = prop_oneof![Just(MainProcess::Launched), Just(MainProcess::Pidfile)];
    let log = (text(), text()).prop_map(|(path, signal)| LogFile { path, reopen: Reopen::Signal(signal) });
    let build = (vec(text(), 0..3), btree_map(text(), text(), 0..3), text());
    let build = build.prop_map(|(command, environment, product)| Build { command, environment, product });
    let how = (
        launch(),
        (of(build), vec(file(), 0..3)),
        (vec(endpoint(), 0..3), vec(text(), 0..3)),
        ready(),
        main,
        of(text()),
        of(log),
        of(any::<i32>()),
    );
    let privileges = (any::<u32>(), any::<u32>(), vec(any::<u32>(), 0..3), vec(text(), 0..3));
    let privileges = privileges.prop_map(|(uid, gid, groups, arguments)| Privileges { uid, gid, groups, arguments });
    let slow_init = (vec(text(), 0..3), number(), text());
    let slow_init = slow_init.prop_map(|(arguments, takes_ms, output)| SlowInit { arguments, takes_ms, output });
    let config_file = (text(), text()).prop_map(|(path, invalid)| ConfigFile { path, invalid });
    let asked = (of(privileges), of(slow_init), of(config_file));
    (said(), how, of(restart()), stop(), commands(), of(stall()), deadlines(), asked)
        .prop_map(|(said, how, restart, stop, commands, stall, deadlines, (privileges, slow_init, config_file))| {
            let (name, about, role, profiles, claims, disclaims, requires) = said;
            let (launch, (build, files), (endpoints, also), ready, main, pidfile, log, notify_fd) = how;
            Manifest {
                name,
                about,
                role,
                profiles,
                claims,
                disclaims,
                requires,
                launch,
                build,
                files,
                endpoints,
                also,
                ready,
                main,
                pidfile,
                log,
                config_file,
                notify_fd,
                privileges,
                slow_init,
                restart,
                stop,
                commands,
                stall,
                deadlines,
            }
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_manifest_survives_being_written_and_read(manifest in manifest()) {
        let text = toml::to_string(&manifest).expect("every manifest can be written");
        let read: Manifest = Source::new("written.toml", text).read().expect("what was written can be read");
        prop_assert_eq!(read, manifest);
    }

    #[test]
    fn no_manifest_makes_the_validation_panic(manifest in manifest()) {
        let source = Source::new("written.toml", toml::to_string(&manifest).expect("every manifest can be written"));
        if let Err(error) = Target::validate(&manifest, &source) {
            prop_assert!(error.render(false).starts_with("error: "));
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in prop_oneof![any::<String>(), "[a-z0-9 =\"'\\[\\]{}.,\n]{0,60}"]) {
        let source = Source::new("any.toml", text);
        if let Err(error) = source.read::<Manifest>() {
            prop_assert!(error.render(false).starts_with("error: "));
        }
    }
}
