package localpg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// CreateDatabase makes a database and gives its URL. With a template, which
// nobody may be connected to, it is a copy of that one; "" makes it empty.
func (s *Server) CreateDatabase(ctx context.Context, name, template string) (string, error) {
	if template == "" {
		template = "template0"
	}
	sql := fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", quote(name), quote(template))
	if err := s.exec(ctx, sql); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return s.URL(name), nil
}

// DropDatabase removes a database, breaking off whoever is connected to it. One
// that is not there is none the worse.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	if err := s.exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", quote(name))); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

func (s *Server) exec(ctx context.Context, sql string) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// EnsureDatabase makes a database where it is not there yet, and gives its URL.
func (s *Server) EnsureDatabase(ctx context.Context, name string) (string, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }()
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there); err != nil {
		return "", fmt.Errorf("look for database %s: %w", name, err)
	}
	if there {
		return s.URL(name), nil
	}
	return s.CreateDatabase(ctx, name, "")
}
