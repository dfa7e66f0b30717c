//! The daemon's life: open the store and the sockets, serve, leave in good order.

use std::process;
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use mica_engine::{Config, Engine, blocking};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::activity::Activity;
use crate::config::{Arguments, Settings};
use crate::daemon::{Builds, Daemon};
use crate::error::Error;
use crate::grpc::{History, Jobs, Sessions};
use crate::keeping::keep;
use crate::listen::{self, Listener};
use crate::log::{self, Level};
use crate::metrics::Metrics;
use crate::names::Names;
use crate::notify::notify;
use crate::reload::{Current, Doors, reload};
use crate::serve::serve;

/// How long answers may take once what still goes on was told to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long those who listen to what happens may take to hear that nothing more will.
const LAST_WORD: Duration = Duration::from_secs(1);
/// The most threads for work that blocks. A client that does not go on reading or sending holds one or two, and must not hold the one
/// that somebody else's request needs: more than all connections can hold.
const THREADS: usize = 4096;

/// What the service manager is to wait for beside all that, for a store on a slow disk.
const SLACK: Duration = Duration::from_secs(4);

/// Runs the daemon until it is told to leave or has had nothing to do for long enough.
pub(crate) fn run(settings: Settings, arguments: Arguments, handed_over: ListenFd) -> Result<(), Error> {
    log::set(settings.log_level, settings.log_format);
    let helper = std::env::current_exe().map_err(system("find this program's own file"))?;
    // the store first: whoever has it is the one daemon that may answer
    let engine = Engine::open(Config {
        root: settings.root.clone(),
        helper,
        registries: settings.registries.clone().into_settings()?,
        insecure_allowed: settings.insecure_allowed,
    })
    .map_err(Error::Engine)?;
    let listeners = listen::open(&settings, handed_over)?;
    log::start().map_err(system("start a thread"))?;
    let doors = Arc::new(Doors::of(&listeners));
    doors.follow(&settings);
    let idle = settings.idle;
    let fields = [
        ("version", mica_engine::version().version.into()),
        ("root", settings.root.display().to_string().into()),
        ("sockets", listeners.len().into()),
    ];
    log::say(Level::Info, "micad starts", &fields);
    let daemon = Arc::new(Daemon {
        engine,
        settings: Current::new(settings),
        metrics: Arc::new(Metrics::new()),
        upkeep: Arc::default(),
        names: Names::default(),
        activity: Activity::new(),
        builds: Builds::default(),
        sessions: Sessions::default(),
        jobs: Jobs::default(),
        history: History::default(),
        stop: watch::Sender::new(false),
        end: watch::Sender::new(false),
    });
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .map_err(system("start the runtime"))?;
    let ended = runtime.block_on(live(daemon, listeners, idle, (arguments, doors)));
    // work that did not end in time is left behind: the store survives any end of the program
    runtime.shutdown_background();
    log::flush();
    ended
}

async fn live(
    daemon: Arc<Daemon>,
    listeners: Vec<Listener>,
    idle: Option<Duration>,
    (arguments, doors): (Arguments, Arc<Doors>),
) -> Result<(), Error> {
    let mut signals = Signals::new()?;
    let mut reloads = signal(SignalKind::hangup()).map_err(system("listen for signals"))?;
    let mut serving = tokio::spawn(serve(daemon.clone(), listeners, daemon.stop.subscribe()));
    // it ends with the daemon's stop, and survives any end of the program
    drop(tokio::spawn(keep(daemon.clone())));
    notify(&format!("READY=1\nMAINPID={}", process::id()));
    let idling = async {
        match idle {
            Some(time) => daemon.activity.quiet_for(time).await,
            None => std::future::pending().await,
        }
    };
    let mut idling = std::pin::pin!(idling);
    let mut reloading = Reloading::default();
    let why = loop {
        tokio::select! {
            () = signals.next() => break "it was told to",
            () = idling.as_mut() => break "it has nothing to do",
            _ = reloads.recv() => reloading.ask_for(|| reload_aside(&daemon, &arguments, &doors)),
            () = reloading.ended() => reloading.go_on(|| reload_aside(&daemon, &arguments, &doors)),
            ended = &mut serving => {
                return ended.map_err(std::io::Error::other).flatten().map_err(system("serve"));
            }
        }
    };
    log::say(Level::Info, "micad leaves", &[("because", why.into())]);
    tokio::select! {
        () = leave(&daemon, serving) => {}
        () = signals.next() => log::say(Level::Warn, "micad was told again and leaves at once", &[]),
    }
    Ok(())
}

/// Reads the settings anew where it holds nobody up: whom they name may have to be asked for.
fn reload_aside(daemon: &Arc<Daemon>, arguments: &Arguments, doors: &Arc<Doors>) -> JoinHandle<()> {
    let (daemon, arguments, doors) = (daemon.clone(), arguments.clone(), doors.clone());
    tokio::spawn(async move {
        let work = blocking(move || {
            reload(&daemon, &arguments, &doors);
            Ok(())
        });
        // it said what there is to say
        let _ = work.await;
    })
}

/// The settings being read anew, one time after the other.
#[derive(Default)]
struct Reloading {
    now: Option<JoinHandle<()>>,
    /// Whether it was asked for again since `now` began: that one may have read the file before it was as it is.
    again: bool,
}

impl Reloading {
    fn ask_for(&mut self, begin: impl FnOnce() -> JoinHandle<()>) {
        match self.now {
            Some(_) => self.again = true,
            None => self.now = Some(begin()),
        }
    }

    /// Waits until what goes on is over; for ever if nothing does.
    async fn ended(&mut self) {
        match &mut self.now {
            // one that broke is over too
            Some(now) => drop(now.await),
            None => std::future::pending().await,
        }
        self.now = None;
    }

    fn go_on(&mut self, begin: impl FnOnce() -> JoinHandle<()>) {
        if std::mem::take(&mut self.again) {
            self.now = Some(begin());
        }
    }
}

/// Takes no more requests, waits for what goes on as long as the settings say, then ends it.
async fn leave(daemon: &Daemon, serving: JoinHandle<std::io::Result<()>>) {
    let patience = daemon.settings.get().shutdown;
    let whole = patience + FAREWELL + LAST_WORD + SLACK;
    notify(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", whole.as_micros()));
    daemon.builds.close();
    daemon.stop.send_replace(true);
    let work = async {
        let _ = serving.await;
        daemon.activity.quiet().await;
    };
    let mut work = std::pin::pin!(work);
    if tokio::time::timeout(patience, work.as_mut()).await.is_err() {
        let text = "what still goes on is cancelled: its time is over";
        log::say(Level::Warn, text, &[("seconds", patience.as_secs().into())]);
        daemon.builds.stop();
        daemon.end.send_replace(true);
        // in vain or not: what did not end in time is left behind, and what did was told
        let _ = tokio::time::timeout(FAREWELL, work).await;
    }
    daemon.engine.feed().end();
    let _ = tokio::time::timeout(LAST_WORD, daemon.activity.deserted()).await;
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
