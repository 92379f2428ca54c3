-- An object that is doomed may be removed at any moment: no file is made of it any more.
ALTER TABLE stray_objects ADD COLUMN doomed boolean NOT NULL DEFAULT false;

CREATE UNIQUE INDEX files_by_object ON files (object) WHERE object IS NOT NULL;
