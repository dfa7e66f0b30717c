//! The daemon's life: open the store and the sockets, serve, leave in good order.

use std::process;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use mica_engine::{Config, Engine};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::activity::Activity;
use crate::config::Settings;
use crate::daemon::{Builds, Daemon};
use crate::error::Error;
use crate::grpc::{History, Jobs, Sessions};
use crate::listen::{self, Listener};
use crate::notify::notify;
use crate::serve::serve;

/// How long answers may take once the daemon is told to leave.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long those who listen to what happens may take to hear that nothing more will.
const LAST_WORD: Duration = Duration::from_secs(1);
/// The most threads for work that blocks. A client that does not go on reading or sending holds one or two, and must not hold the one
/// that somebody else's request needs: more than all connections can hold.
const THREADS: usize = 4096;

/// Runs the daemon until it is told to leave or has had nothing to do for long enough.
pub(crate) fn run(settings: &Settings, handed_over: ListenFd) -> Result<(), Error> {
    let helper = std::env::current_exe().map_err(system("find this program's own file"))?;
    // the store first: whoever has it is the one daemon that may answer
    let engine = Engine::open(Config {
        root: settings.root.clone(),
        helper,
        registries: settings.registries.clone().into_settings()?,
        insecure_allowed: settings.insecure_allowed,
    })
    .map_err(Error::Engine)?;
    let listeners = listen::open(settings, handed_over)?;
    let daemon = Arc::new(Daemon {
        engine,
        registries: settings.registries.clone(),
        activity: Activity::new(),
        builds: Builds::default(),
        sessions: Sessions::default(),
        jobs: Jobs::default(),
        history: History::default(),
        stop: watch::Sender::new(false),
    });
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .map_err(system("start the runtime"))?;
    let ended = runtime.block_on(live(daemon, listeners, settings.idle));
    // work that did not end in time is left behind: the store survives any end of the program
    runtime.shutdown_background();
    ended
}

async fn live(daemon: Arc<Daemon>, listeners: Vec<Listener>, idle: Option<Duration>) -> Result<(), Error> {
    let mut signals = Signals::new()?;
    let mut serving = tokio::spawn(serve(daemon.clone(), listeners, daemon.stop.subscribe()));
    notify(&format!("READY=1\nMAINPID={}", process::id()));
    let idling = async {
        match idle {
            Some(time) => daemon.activity.quiet_for(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signals.next() => {}
        () = idling => {}
        ended = &mut serving => {
            return ended.map_err(std::io::Error::other).flatten().map_err(system("serve"));
        }
    }
    notify("STOPPING=1");
    daemon.stop.send_replace(true);
    daemon.builds.stop();
    let farewell = async {
        let work = async {
            let _ = serving.await;
            daemon.activity.quiet().await;
        };
        // in vain or not: what did not end in time is left behind, and what did was told
        let _ = tokio::time::timeout(FAREWELL, work).await;
        daemon.engine.feed().end();
        let _ = tokio::time::timeout(LAST_WORD, daemon.activity.deserted()).await;
    };
    tokio::select! {
        () = farewell => {}
        () = signals.next() => {}
    }
    Ok(())
}

/// The signals that ask the daemon to leave.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(system("listen for signals"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn system(action: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::System { action, source }
}
