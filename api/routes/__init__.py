"""Controllers, one resource a file. They validate nothing and decide nothing: schemas and the pipeline do."""
