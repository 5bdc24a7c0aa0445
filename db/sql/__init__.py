"""The compiler: a declaration in, SQLAlchemy Core statements out."""
