//! Events into pages at the destination: a directory's page is written once all below it is.

use std::collections::HashMap;

use crate::format::{Body, ChunkId, Content, File, Node};
use crate::ops::OpError;
use crate::repo::{
    DirectoryWriter, ExtentsWriter, NodeRef, PageWriter, RepoError, WrittenDirectory,
};

use super::failure::Failure;
use super::walk::Event;
use super::window::Window;

/// Writes one tree; memory is a page for each level of it.
pub(super) struct Assembler<'s, 't> {
    pages: PageWriter<'s, 't>,
    /// Directories on the way down, and what is open of the one above each.
    above: Vec<(NodeRef, DirectoryWriter)>,
    directory: DirectoryWriter,
    file: Option<(NodeRef, ExtentsWriter)>,
}

impl<'s, 't> Assembler<'s, 't> {
    pub(super) fn new(pages: PageWriter<'s, 't>) -> Self {
        Self { pages, above: Vec::new(), directory: DirectoryWriter::default(), file: None }
    }

    /// Takes the next event, whose chunks have these ids at the destination where they differ.
    pub(super) fn add(
        &mut self,
        event: Event,
        ids: &HashMap<ChunkId, ChunkId>,
    ) -> Result<(), Failure> {
        match event {
            Event::Enter(node) => {
                self.above.push((node, std::mem::take(&mut self.directory)));
            }
            Event::Leave => {
                let (node, above) = self.above.pop().ok_or_else(out_of_order)?;
                let below = std::mem::replace(&mut self.directory, above);
                let body = below.finish(&mut self.pages)?.into();
                self.push(&node, body)?;
            }
            Event::Kept(node) => self.directory.push_kept(&node, &mut self.pages)?,
            Event::Entry(node, body) => {
                let body = body.unwrap_or_else(|| node.body.clone());
                self.push(&node, body)?;
            }
            Event::File(node, _) => self.file = Some((node, ExtentsWriter::default())),
            Event::Extents(extents) => {
                let (_, writer) = self.file.as_mut().ok_or_else(out_of_order)?;
                for extent in extents {
                    writer.push(Window::there(ids, extent), &mut self.pages)?;
                }
            }
            Event::FileEnd => {
                let (node, writer) = self.file.take().ok_or_else(out_of_order)?;
                let content = writer.finish(&mut self.pages)?;
                let body = with_content(&node.body, content);
                self.push(&node, body)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, node: &NodeRef, body: Body) -> Result<(), RepoError> {
        let there = Node { body, ..Node::clone(node) };
        self.directory.push(there, node.owner(), &mut self.pages)
    }

    /// Writes the root's pages, and what is open.
    pub(super) fn finish(mut self) -> Result<WrittenDirectory, Failure> {
        let root = self.directory.finish(&mut self.pages)?;
        self.pages.flush()?;
        Ok(root)
    }
}

fn with_content(body: &Body, content: Content) -> Body {
    match body {
        Body::File(file) => Body::File(File { content, ..file.clone() }),
        other => other.clone(),
    }
}

fn out_of_order() -> Failure {
    OpError::Input("the walk told an end without a beginning".into()).into()
}
