"""The catalog on SQLAlchemy Core: schema, statements, migrations. The commit point of everything."""
