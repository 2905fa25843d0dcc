//! The database file, opened again after the disk failed.
//!
//! Once an access to its file failed, redb answers every later transaction with `PreviousIo`: it no longer
//! knows what is on the disk. Opening the file anew reads that, with the last commit that was whole.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use redb::{Database, DatabaseError, Error};
use tracing::info;

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>;

/// A database, and the way to open it.
pub(super) struct File {
    /// `None` while it could not be opened again.
    database: RwLock<Option<Database>>,
    open: Open,
}

impl fmt::Debug for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("File").finish_non_exhaustive()
    }
}

impl File {
    pub(super) fn open(
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, DatabaseError> {
        Ok(Self {
            database: RwLock::new(Some(open()?)),
            open: Box::new(open),
        })
    }

    /// Does something with the database. If it does not work since the disk failed before, the file is
    /// opened again and it is tried once more.
    pub(super) fn with<T>(&self, act: impl Fn(&Database) -> Result<T, Error>) -> Result<T, Error> {
        match self.once(&act) {
            Some(Err(Error::PreviousIo | Error::DatabaseClosed)) | None => {}
            Some(done) => return done,
        }
        self.reopen()?;
        self.once(&act).unwrap_or(Err(Error::DatabaseClosed))
    }

    /// `None` if it is not open.
    fn once<T>(&self, act: impl Fn(&Database) -> Result<T, Error>) -> Option<Result<T, Error>> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        database.as_ref().map(act)
    }

    fn reopen(&self) -> Result<(), Error> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Its lock on the file goes with it.
        *database = None;
        *database = Some((self.open)()?);
        info!("the state's file is opened again");
        Ok(())
    }
}
