//! What changes while the daemon runs: table files, the allow and deny files,
//! accounts, and on SIGHUP the configuration.

use super::access::Access;
use super::daemon::{Daemon, Phase, Roles, START_PATIENCE};
use super::notify;
use super::places::Change;
use super::reconcile::{Key, Kind};
use crate::config::Config;

impl Daemon {
    pub(super) fn changed(&mut self, changes: Vec<Change>) {
        let mut users = false;
        for change in changes {
            let place = match &change {
                Change::Entry(place, ..) | Change::Whole(place) => *place,
            };
            let kind = self
                .roles
                .tables
                .iter()
                .find(|(at, _)| *at == place)
                .map(|(_, kind)| *kind);
            match (&change, kind) {
                (Change::Entry(_, name, how), Some(kind)) => self.look(kind, name, *how),
                (Change::Whole(_), Some(kind)) => self.scan(kind, false),
                _ => {}
            }
            users |= self.roles.users.iter().any(|(at, file)| match &change {
                Change::Entry(_, name, _) => *at == place && file == name,
                Change::Whole(_) => *at == place,
            });
        }
        if users && !self.config.personal {
            self.access = access(&self.config);
            self.scan(Kind::Spool, false);
        }
    }

    /// All tables; `first` when the daemon starts.
    pub(super) fn scan_all(&mut self, first: bool) {
        for (_, kind) in self.roles.tables.clone() {
            if first {
                match kind {
                    Kind::System => log::info!("loading system tables"),
                    Kind::Spool | Kind::Personal => log::info!("loading user tables"),
                }
            }
            self.scan(kind, true);
        }
    }

    pub(super) fn reload(&mut self) {
        log::info!("reloading configuration and tables");
        notify::reloading();
        let loaded = match self.config.personal {
            true => Config::load_personal(self.config_file.as_deref()),
            false => Config::load(self.config_file.as_deref()),
        };
        match loaded {
            Ok((config, warnings)) => {
                warnings.iter().for_each(|warning| log::warn!("{warning}"));
                self.reconfigure(config);
            }
            Err(error) => {
                for line in error.to_string().lines() {
                    log::error!("{line}");
                }
                log::error!("the configuration stays as it was");
            }
        }
        self.places.verify();
        self.access = access(&self.config);
        self.scan_all(false);
        if !self.is_starting() {
            self.phase = Phase::Reloading(self.clock.now() + START_PATIENCE);
        }
    }

    /// Takes over what can change while it runs.
    fn reconfigure(&mut self, new: Config) {
        let old = std::mem::replace(&mut self.config, new);
        let fixed = [
            ("lockfile_dir", old.lockfile_dir != self.config.lockfile_dir),
            (
                "lockfile_name",
                old.lockfile_name != self.config.lockfile_name,
            ),
            (
                "control_socket",
                old.control_socket != self.config.control_socket,
            ),
            ("state_dir", old.state_dir != self.config.state_dir),
            ("log", old.log != self.config.log),
            (
                "syslog_socket",
                old.syslog_socket != self.config.syslog_socket,
            ),
        ];
        for (key, _) in fixed.iter().filter(|(_, changed)| *changed) {
            log::warn!("`{key}` has changed; that takes effect at the next start");
        }
        self.config.lockfile_dir = old.lockfile_dir;
        self.config.lockfile_name = old.lockfile_name;
        self.config.control_socket = old.control_socket;
        self.config.state_dir = old.state_dir;
        self.config.log = old.log;
        self.config.syslog_socket = old.syslog_socket;
        if (&old.system_table_dir, &old.user_table_dir)
            != (&self.config.system_table_dir, &self.config.user_table_dir)
        {
            // Nothing of the old directories is served from here on.
            let keys: Vec<Key> = self.workers.keys().cloned().collect();
            keys.iter().for_each(|key| self.dismiss(key));
        }
        self.roles = Roles::watch(&self.config, &mut self.places);
        let keys: Vec<Key> = self.workers.keys().cloned().collect();
        for key in keys {
            let Some(owner) = self.workers.get(&key).map(|worker| worker.owner.clone()) else {
                continue;
            };
            let settings = self.settings(&owner);
            if let Some(worker) = self.workers.get_mut(&key) {
                worker.configure(settings);
            }
        }
    }
}

/// Who may have a table, as the files say now.
pub fn access(config: &Config) -> Access {
    if config.personal {
        Access::everyone()
    } else {
        Access::read(config)
    }
}
