//! The knowledge base: what things look like.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use relens::error::Error;
use relens::home;
use relens::knowledge::entity::normalise_name;
use relens::knowledge::knowledge_base::{HOME_FILE, read_entities};
use relens::knowledge::store::Revision;
use relens::knowledge::{
    Entity, EntityDetails, EntityEdit, ImportMode, Knowledge as Base, KnowledgeStore, json_lines,
};
use relens_models::atomic_file::AtomicFile;

use crate::fault::{Fault, Result};
use crate::work;

/// A knowledge base on disk, made of the bundled one at the first edit.
#[pyclass(frozen, module = "relens._relens")]
pub(crate) struct Knowledge {
    path: PathBuf,
    /// One edit at a time.
    editing: Mutex<()>,
}

impl Knowledge {
    /// The entities as they are now.
    fn read(&self) -> Result<Base> {
        Ok(if KnowledgeStore::is_made(&self.path)? { Base::load(&self.path)? } else { Base::bundled()? })
    }

    fn change<T: Send>(
        &self,
        py: Python<'_>,
        change: impl FnOnce(&mut KnowledgeStore) -> relens::error::Result<T> + Send,
    ) -> Result<T> {
        work::briefly(py, || {
            let _one = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut store = KnowledgeStore::open_seeded(&self.path, || Ok(Base::bundled()?.into_entities()))?;
            Ok(change(&mut store)?)
        })
    }
}

#[pymethods]
impl Knowledge {
    /// The knowledge base at `path`, or the one in relens's own directory.
    #[new]
    fn new(path: Option<PathBuf>) -> Result<Self> {
        let own = || home::directory().map(|home| home.join(HOME_FILE));
        let path = path.or_else(own).ok_or_else(|| Fault::Argument {
            name: "path",
            expected: "a path, for no home directory is known".to_owned(),
            found: "None".to_owned(),
        })?;
        Ok(Self { path, editing: Mutex::new(()) })
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// All entities, sorted by name, as dictionaries.
    fn entities<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let mut entities = work::briefly(py, || self.read())?.into_entities();
        entities.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(pythonize::pythonize(py, &entities)?)
    }

    /// The entity of this name or alias, or None.
    fn get<'py>(&self, py: Python<'py>, name: &str) -> Result<Option<Bound<'py, PyAny>>> {
        let found: Option<Entity> = work::briefly(py, || Ok(self.read()?.by_name(name).cloned()))?;
        found.map(|entity| Ok(pythonize::pythonize(py, &entity)?)).transpose()
    }

    /// The words of a text that name entities: (words, entity's name).
    fn find(&self, py: Python<'_>, text: &str) -> Result<Vec<(String, String)>> {
        work::briefly(py, || {
            let knowledge = self.read()?;
            let named = |mention: &relens::knowledge::Mention| {
                (mention.surface.clone(), knowledge.entity(mention).name.clone())
            };
            Ok(knowledge.find(text).iter().map(named).collect())
        })
    }

    fn add<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        is_a: Vec<String>,
        has: Vec<String>,
        sense: Option<String>,
        aliases: Vec<String>,
    ) -> Result<Bound<'py, PyAny>> {
        let details = EntityDetails { is: is_a, has, sense, aliases };
        revised(py, self.change(py, |store| store.add_details(name, details))?)
    }

    #[expect(clippy::too_many_arguments, reason = "the keyword arguments of one call")]
    fn edit<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        is_a: Vec<String>,
        has: Vec<String>,
        sense: Option<String>,
        aliases: Vec<String>,
        drop: Vec<String>,
        drop_aliases: Vec<String>,
        rename: Option<String>,
    ) -> Result<Bound<'py, PyAny>> {
        let details = EntityDetails { is: is_a, has, sense, aliases };
        let edit = EntityEdit { details, drop, drop_aliases, rename };
        revised(py, self.change(py, |store| store.change_details(name, edit))?)
    }

    fn remove<'py>(&self, py: Python<'py>, name: &str) -> Result<Bound<'py, PyAny>> {
        revised(py, self.change(py, |store| store.remove_entity(name))?)
    }

    fn undo<'py>(&self, py: Python<'py>, revision: Option<i64>) -> Result<Bound<'py, PyAny>> {
        revised(py, Some(self.change(py, |store| store.undo(revision))?))
    }

    /// The latest revisions first, of one entity or of all.
    fn history<'py>(&self, py: Python<'py>, entity: Option<&str>, limit: usize) -> Result<Bound<'py, PyAny>> {
        let revisions = work::briefly(py, || {
            if !KnowledgeStore::is_made(&self.path)? {
                return Ok(Vec::new());
            }
            let entity = entity.map(normalise_name);
            Ok(KnowledgeStore::open_read_only(&self.path)?.history(entity.as_deref(), limit)?)
        })?;
        Ok(pythonize::pythonize(py, &revisions)?)
    }

    /// Takes in the entities of files in one revision.
    fn import_files<'py>(
        &self,
        py: Python<'py>,
        paths: Vec<PathBuf>,
        replace: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let mode = if replace { ImportMode::Replace } else { ImportMode::Merge };
        let summary = self.change(py, |store| {
            let entities = paths.iter().map(|path| read_entities(path));
            let entities: Vec<Vec<Entity>> = entities.collect::<relens::error::Result<_>>()?;
            store.import("import", &entities.concat(), mode)
        })?;
        Ok(pythonize::pythonize(py, &summary)?)
    }

    /// Writes all entities as JSON Lines; the file is there when it is whole.
    fn export(&self, py: Python<'_>, path: PathBuf) -> Result<()> {
        work::briefly(py, || {
            let knowledge = self.read()?;
            let mut file = AtomicFile::create(&path).map_err(Error::from)?;
            json_lines::write(knowledge.entities(), &mut file)?;
            Ok(file.commit().map_err(Error::from)?)
        })
    }
}

fn revised(py: Python<'_>, revision: Option<Revision>) -> Result<Bound<'_, PyAny>> {
    Ok(pythonize::pythonize(py, &revision)?)
}
