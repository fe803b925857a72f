//! One file per verb: its options, and what it does.

pub(crate) mod completion;
pub(crate) mod create;
pub(crate) mod exec;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod load;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod manifest;
pub(crate) mod ps;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod supervise;
pub(crate) mod system_check;
pub(crate) mod system_df;
pub(crate) mod tag;
pub(crate) mod version;
pub(crate) mod wait;
