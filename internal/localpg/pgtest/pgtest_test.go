package pgtest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/molecule-ai/billing-reconciler/internal/localpg/pgtest"
)

func TestMain(m *testing.M) { pgtest.MainNoLeaks(m) }

func run(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	first, second := pgtest.NewDatabase(t), pgtest.NewDatabase(t)
	for _, url := range []string{first, second} {
		if err := run(t.Context(), url, "CREATE TABLE t ()"); err != nil {
			t.Error(err)
		}
	}
}

func TestATemplateIsFilledOnceAndCopiedEachTime(t *testing.T) {
	filled := 0
	setup := func(ctx context.Context, url string) error {
		filled++
		return run(ctx, url, "CREATE TABLE t AS SELECT 1 AS x")
	}
	for range 3 {
		url := pgtest.NewDatabaseFrom(t, "with a table", setup)
		if err := run(t.Context(), url, "DROP TABLE t"); err != nil {
			t.Error(err)
		}
	}
	if filled != 1 {
		t.Errorf("filled %d times, want 1", filled)
	}
}

func TestADatabaseIsGoneAfterItsTest(t *testing.T) {
	var url string
	t.Run("user", func(t *testing.T) { url = pgtest.NewDatabase(t) })
	if err := run(t.Context(), url, "SELECT 1"); err == nil {
		t.Error("it is still there")
	}
}
